"""HTTP clients of a work, in one cheap process of their own: they share the two cores with what they measure.

Prebuilt HTTP/1.1 requests over kept-alive sockets; nothing is parsed but status and length. Clients send the next
request when they have their answer; with a rate they send at it whatever comes back, and a request that has to wait for
a free connection has waited since its moment.

    python -m bench.clients SPEC RESULT    (both JSON files; see `Spec` and `Result`)
"""

import asyncio
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import uvloop
from pydantic import BaseModel

_CLOCK = time.perf_counter  # CLOCK_MONOTONIC: comparable between processes of one machine


class Request(BaseModel):
    """One call. `body` is JSON text, `key` its Idempotency-Key."""

    method: str = "POST"
    path: str
    body: str | None = None
    key: str | None = None


class Spec(BaseModel):
    """What to send where, by how many clients; `rate` (calls/s) makes it an open load. `own` deals requests out."""

    port: int
    token: str
    requests: list[Request]
    clients: int = 1
    rate: float | None = None
    own: bool = False
    keep_bodies: bool = False


class Result(BaseModel):
    """When each call was due and answered (seconds of the monotonic clock, in the order of the requests).

    `answer_bytes` is the mean size of a body; `cpu_share` what the clients took of one core while they ran.
    """

    due: list[float]
    answered: list[float]
    statuses: dict[int, int]
    unexpected: list[str]
    bodies: list[str]
    answer_bytes: int
    seconds: float
    cpu_share: float


class _Client(asyncio.Protocol):
    """One connection with at most one call on its way."""

    def __init__(self) -> None:
        self._got = bytearray()
        self._length = -1
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def call(self, raw: bytes) -> asyncio.Future[tuple[int, bytes]]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._length < 0:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._got[:end].lower()
            at = head.index(b"content-length:") + 15
            stop = head.find(b"\r", at)
            self._length = end + 4 + int(head[at : stop if stop >= 0 else None])
        if len(self._got) >= self._length and self._answer is not None:
            body = bytes(self._got[self._got.index(b"\r\n\r\n") + 4 :])
            status = int(self._got[9:12])
            self._got.clear()
            self._length = -1
            self._answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the service closed the connection"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _raw(request: Request, spec: Spec) -> bytes:
    body = (request.body or "").encode()
    lines = [
        f"{request.method} {request.path} HTTP/1.1",
        f"Host: 127.0.0.1:{spec.port}",
        f"Authorization: Bearer {spec.token}",
    ]
    if request.key is not None:
        lines.append(f"Idempotency-Key: {request.key}")
    if request.body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Run:
    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._raw = [_raw(request, spec) for request in spec.requests]
        self._due = [0.0] * len(self._raw)
        self._answered = [0.0] * len(self._raw)
        self._statuses: Counter[int] = Counter()
        self._unexpected: list[str] = []
        self._bytes = 0
        self._bodies = [""] * len(self._raw) if spec.keep_bodies else []

    async def result(self) -> Result:
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(_Client, "127.0.0.1", self._spec.port))[1] for _ in range(self._spec.clients)
        ]
        cpu, began = _cpu(), _CLOCK()
        if self._spec.rate is None:
            await self._closed(clients)
        else:
            await self._open(clients, self._spec.rate)
        seconds = _CLOCK() - began
        for client in clients:
            client.close()
        return Result(
            due=self._due,
            answered=self._answered,
            statuses=dict(self._statuses),
            unexpected=self._unexpected,
            bodies=self._bodies,
            answer_bytes=self._bytes // max(1, len(self._raw)),
            seconds=seconds,
            cpu_share=(_cpu() - cpu) / seconds,
        )

    async def _closed(self, clients: Sequence[_Client]) -> None:
        together = deque(range(len(self._raw)))

        async def send(client: _Client, numbers: deque[int]) -> None:
            while numbers:
                n = numbers.popleft()
                self._due[n] = _CLOCK()
                await self._call(client, n)

        await asyncio.gather(
            *(
                send(client, deque(range(place, len(self._raw), len(clients))) if self._spec.own else together)
                for place, client in enumerate(clients)
            )
        )

    async def _open(self, clients: Sequence[_Client], rate: float) -> None:
        free: asyncio.Queue[_Client] = asyncio.Queue()
        for client in clients:
            free.put_nowait(client)

        async def send(client: _Client, n: int) -> None:
            await self._call(client, n)
            free.put_nowait(client)

        tasks = []
        began = _CLOCK()
        for n in range(len(self._raw)):
            self._due[n] = began + n / rate
            if (early := self._due[n] - _CLOCK()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.create_task(send(await free.get(), n)))
        await asyncio.gather(*tasks)

    async def _call(self, client: _Client, n: int) -> None:
        status, body = await client.call(self._raw[n])
        self._answered[n] = _CLOCK()
        self._statuses[status] += 1
        self._bytes += len(body)
        if status >= 300 and len(self._unexpected) < 5:
            self._unexpected.append(f"{status}: {body[:600].decode(errors='replace')}")
        if self._bodies:
            self._bodies[n] = body.decode()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Send, and write the result."""
    spec, result = Path(sys.argv[1]), Path(sys.argv[2])
    run = _Run(Spec.model_validate_json(spec.read_bytes()))
    result.write_text(uvloop.run(run.result()).model_dump_json())


if __name__ == "__main__":
    main()
