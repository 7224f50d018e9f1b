"""A service in little: `migrate` makes a table in its database; `serve` is ready when it finds the table."""

import asyncio
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import jwt

NAMES = ("DATABASE_DSN", "KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX", "HTTP_HOST", "HTTP_PORT", "ENVIRONMENT")


async def migrate() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_DSN"])
    await connection.execute("CREATE TABLE IF NOT EXISTS migrated (at timestamptz DEFAULT now())")
    await connection.execute("INSERT INTO migrated DEFAULT VALUES")
    await connection.close()


async def times_migrated() -> int:
    connection = await asyncpg.connect(os.environ["DATABASE_DSN"])
    try:
        return int(await connection.fetchval("SELECT count(*) FROM migrated"))
    finally:
        await connection.close()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/health/ready":
                self.answer(200 if asyncio.run(times_migrated()) else 503, {})
            case "/settings":
                self.answer(
                    200, {name: os.environ[name] for name in NAMES} | {"migrated": asyncio.run(times_migrated())}
                )
            case "/whoami":
                self.answer(200, self.claims())

    def claims(self) -> dict[str, object]:
        token = self.headers["Authorization"].removeprefix("Bearer ")
        keys = jwt.PyJWKSet.from_dict(json.loads(Path(os.environ["TOKEN_JWKS"]).read_text()))
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience=os.environ["TOKEN_AUDIENCE"],
            issuer=os.environ["TOKEN_ISSUER"],
        )

    def answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


def main() -> None:
    match sys.argv[1]:
        case "migrate":
            asyncio.run(migrate())
        case "serve":
            address = (os.environ["HTTP_HOST"], int(os.environ["HTTP_PORT"]))
            ThreadingHTTPServer(address, Answers).serve_forever()
