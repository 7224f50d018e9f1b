"""The pages of the API open without the outside world."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from delivery import Settings, build
from tests.delivery.toy import app as toy


@pytest.fixture
async def client(unconnected: Settings) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=build(toy.service, unconnected))
    async with httpx.AsyncClient(transport=transport, base_url="http://toy") as opened:
        yield opened


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(page)
    assert answer.status_code == 200
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", answer.text)
    assert len(loaded) >= 2
    for address in [*loaded, "/openapi.json"]:
        assert address.startswith("/"), f"{page} loads {address} from elsewhere"
        assert (await client.get(address)).status_code == 200, address
    assert "/openapi.json" in answer.text
