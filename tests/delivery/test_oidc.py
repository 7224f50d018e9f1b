"""An OIDC issuer is used by naming it: its keys are found by discovery, over HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from delivery import Settings, build
from deploy.local.issuer import Issuer
from tests.delivery.toy import app as toy


@asynccontextmanager
async def discovery(issuer: Issuer) -> AsyncIterator[tuple[str, list[str]]]:
    """An issuer's two pages on a free loopback port: its URL, and what was asked there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, asked, pages = f"http://localhost:{port}", [], FastAPI()

    @pages.get("/.well-known/openid-configuration")
    async def about() -> dict[str, str]:
        asked.append("discovery")
        return {"issuer": url, "jwks_uri": f"{url}/keys"}

    @pages.get("/keys")
    async def keys() -> object:
        asked.append("keys")
        return json.loads(issuer.jwks.read_text())

    server = uvicorn.Server(uvicorn.Config(pages, host="127.0.0.1", port=port, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield url, asked
    finally:
        server.should_exit = True
        await serving


async def test_tokens_of_a_named_oidc_issuer_are_checked_with_its_discovered_keys(tmp_path: Path) -> None:
    issuer, stranger = Issuer(tmp_path / "issuer"), Issuer(tmp_path / "stranger")
    async with discovery(issuer) as (url, asked):
        settings = Settings(
            database_dsn="postgresql://nobody@127.0.0.1:1/none",
            kafka_bootstrap_servers="127.0.0.1:1",
            token_issuer=url,
            environment="production",
        )
        transport = httpx.ASGITransport(app=build(toy.service, settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:

            async def call(token: str) -> httpx.Response:
                headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
                return await client.post("/rings", json={"name": "", "n": 1}, headers=headers)

            # Let in, and so refused only for its body.
            assert (await call(issuer.mint("x", ["operator"], issuer=url))).status_code == 422
            assert (await call(issuer.mint("x", ["operator"]))).status_code == 401
            assert (await call(stranger.mint("x", ["operator"], issuer=url))).status_code == 401
        assert asked == ["discovery", "keys"], "the keys are read once, not at every call"
