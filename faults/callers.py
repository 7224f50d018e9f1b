"""How outsiders call: with their own key, again and again with the same one until they are told."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from deploy.local.issuer import USERS
from deploy.local.processes import System
from faults.journal import Call, Journal

Found = TypeVar("Found")

ANSWER_WITHIN = 6.0
"""Seconds after which a caller gives up on one try; a frozen service is silent for longer than that."""

NOT_NOW = frozenset({502, 503, 504})


class Callers:
    """Everybody outside, over HTTP. `stopping` is set when the load is over: waits end, calls are still told.

    `offered` are the addresses of each service: a second replica's is added while it runs.
    """

    def __init__(self, system: System, journal: Journal, urls: Mapping[str, str]) -> None:
        self.journal = journal
        self.stopping = asyncio.Event()
        self.offered: dict[str, list[str]] = {name: [url] for name, url in urls.items()}
        self._headers = {user: {"Authorization": f"Bearer {system.token(user)}"} for user in USERS}
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(ANSWER_WITHIN), limits=limits, trust_env=False)
        self._numbers: defaultdict[str, int] = defaultdict(int)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def do(
        self,
        actor: str,
        service: str,
        kind: str,
        path: str,
        body: Mapping[str, Any],
        *,
        by: str,
        method: str = "POST",
        manner: str = "once",
    ) -> Call:
        """Ask for a write until told. `manner` is `once`, `again` (after the answer) or `twice` (at the same time).

        However often it is sent, every answer has to be the first one: another is a contradiction.
        """
        self._numbers[actor] += 1
        plain = {name: value for name, value in body.items() if value is not None}
        call = Call(f"{actor}-{self._numbers[actor]}", service, kind, method, path, by, plain)
        self.journal.calls.append(call)
        if manner == "twice":
            first, second = await asyncio.gather(self._until_told(call), self._until_told(call))
            self._settle(call, first)
            self._compare(call, second)
        else:
            self._settle(call, await self._until_told(call))
            if manner == "again":
                self._compare(call, await self._until_told(call))
        self.journal.done[f"{service} {kind}"] += 1
        return call

    async def get(self, service: str, path: str, *, by: str = "aiko", **query: Any) -> Any | None:
        """Ask until answered; None when there is no such thing, or when the load is over."""
        asked = {name: str(value) for name, value in query.items() if value is not None}
        while not self.stopping.is_set():
            try:
                response = await self._client.get(
                    random.choice(self.offered[service]) + path, params=asked, headers=self._headers[by]
                )
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if response.status_code in NOT_NOW:
                await asyncio.sleep(0.1)
                continue
            self.journal.done["reads"] += 1
            if response.status_code >= 500:
                self._contradict(f"GET {service}{path} was answered {response.status_code}: {response.text[:300]}")
                return None
            return response.json() if response.is_success else None
        return None

    async def all(self, service: str, path: str, **query: Any) -> list[Any]:
        """Ask for a list, page after page; what was read so far when the load is over."""
        rows: list[Any] = []
        after: str | None = None
        while True:
            page = await self.get(service, path, after=after, **query)
            if page is None:
                return rows
            if isinstance(page, list):
                return page
            rows.extend(page["items"])
            after = page.get("next")
            if after is None:
                return rows

    async def until(self, ask: Callable[[], Awaitable[Found | None]], *, seconds: float = 40.0) -> Found | None:
        """Ask again until there is something; None after `seconds`, or when the load is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.stopping.is_set() and asyncio.get_running_loop().time() < deadline:
            found = await ask()
            if found:
                return found
            await asyncio.sleep(0.15)
        return None

    async def pause(self, seconds: float) -> None:
        """Wait, or until the load is over."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _until_told(self, call: Call) -> httpx.Response:
        headers = {
            **self._headers[call.by],
            "Idempotency-Key": call.key,
            "X-Correlation-Id": call.key,
            "Content-Type": "application/json",
        }
        content = json.dumps(call.body, default=str).encode()
        pause = 0.05
        while True:
            call.tries += 1
            self.journal.done["writes sent"] += 1
            url = random.choice(self.offered[call.service]) + call.path
            try:
                response = await self._client.request(call.method, url, content=content, headers=headers)
            except httpx.TransportError:
                self.journal.done["writes with an unknown outcome"] += 1
            else:
                if response.status_code not in NOT_NOW:
                    return response
                self.journal.done["writes answered not now"] += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.8)

    def _settle(self, call: Call, response: httpx.Response) -> None:
        call.status, call.content = response.status_code, response.content
        try:
            call.answer = response.json() if response.content else None
        except ValueError:
            call.answer = None
        if response.status_code >= 500:
            self._contradict(
                f"{call.service} {call.kind} {call.key} was answered {response.status_code}: {response.text[:300]}"
            )
        if response.status_code >= 400:
            self.journal.done["writes refused"] += 1

    def _compare(self, call: Call, again: httpx.Response) -> None:
        self.journal.done["writes sent twice by their callers"] += 1
        if (again.status_code, again.content) != (call.status, call.content):
            self._contradict(
                f"{call.service} {call.kind} {call.key} was answered {call.status} {call.content[:200]!r}, and the "
                f"same call again {again.status_code} {again.content[:200]!r}"
            )

    def _contradict(self, sentence: str) -> None:
        self.journal.contradictions.append(sentence)
