"""Our bound over HTTP: a bare endpoint that keeps as many rows and sends as many messages, with no rule and no check.

Calls that wait are gathered into one transaction with one `unnest`, the messages are sent after it, and the answers
have the same size.

    python -m bench.bound_http PORT BROKERS DSN TOPIC ROWS_PER_CALL MESSAGES_PER_CALL BYTES ANSWER_BYTES
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import asyncpg
import orjson
import uvicorn
from aiokafka import AIOKafkaProducer

_GROUP = 64

Message = MutableMapping[str, Any]


class Bare:
    """The endpoint, as an ASGI application."""

    def __init__(self, brokers: str, dsn: str, topic: str, rows: float, messages: float, size: int, answer: int):
        self._brokers, self._dsn, self._topic = brokers, dsn, topic
        self._rows, self._messages = rows, messages
        self._body = b"x" * size
        self._answer = orjson.dumps({"answer": "z" * max(0, answer - 13)})
        self._waiting: list[asyncio.Future[None]] = []
        self._working: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._database = await asyncpg.connect(self._dsn)
        await self._database.execute(
            "CREATE TABLE IF NOT EXISTS bound_row (n bigint, key text, quantity numeric, body text, at timestamptz)"
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=self._brokers, enable_idempotence=True)
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()
        await self._database.close()

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if body:
            orjson.loads(body)
            kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(kept)
            if self._working is None:
                self._working = asyncio.create_task(self._work())
            await kept
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self._answer)).encode())]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": self._answer})

    async def _work(self) -> None:
        rows = messages = 0.0
        while self._waiting:
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            rows, messages = rows + self._rows * len(group), messages + self._messages * len(group)
            await self._database.execute(
                """
                INSERT INTO bound_row (n, key, quantity, body, at)
                SELECT n, 'key', 7, $2, now() FROM unnest($1::bigint[]) AS n
                """,
                list(range(int(rows))),
                "y" * 100,
            )
            rows -= int(rows)
            for kept in group:
                kept.set_result(None)
            for _ in range(int(messages)):
                await self._producer.send(self._topic, self._body, key=b"key")
            messages -= int(messages)
        self._working = None


async def main() -> None:
    """Serve until SIGTERM."""
    port, brokers, dsn, topic, rows, messages, size, answer = sys.argv[1:]
    bare = Bare(brokers, dsn, topic, float(rows), float(messages), int(size), int(answer))
    await bare.start()
    config = uvicorn.Config(bare, port=int(port), log_level="warning", access_log=False, lifespan="off", loop="uvloop")
    try:
        await uvicorn.Server(config).serve()
    finally:
        await bare.stop()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
