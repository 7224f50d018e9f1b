"""What one call may be: a query that says what the call has, a body of a size, an answer in time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from delivery import Desk, Person, Settings, build, desk, requires
from delivery.limits import LARGEST_REQUEST, LONGEST_QUERY
from deploy.local.issuer import Issuer
from tests.delivery.toy import app as toy


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="", max_length=3_000_000)


router = APIRouter()


@router.get("/bells")
async def bells(
    _person: Annotated[Person, Depends(requires("operator"))],
    limit: Annotated[int, Query(ge=1, le=9)] = 1,
    tones: Annotated[list[str] | None, Query()] = None,
) -> dict[str, Any]:
    """Bells."""
    return {"limit": limit, "tones": tones}


@router.get("/slow")
async def slow(_person: Annotated[Person, Depends(requires("operator"))]) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


@router.post("/orders")
async def order(body: Order, _at: Annotated[Desk, Depends(desk("operator"))]) -> dict[str, int]:
    """Take an order."""
    return {"length": len(body.text)}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    issuer = Issuer(tmp_path)
    settings = Settings(
        database_dsn="postgresql://nobody@127.0.0.1:1/none",
        kafka_bootstrap_servers="127.0.0.1:1",
        token_issuer="batchwise-local",
        token_jwks=str(issuer.jwks),
        environment="local",
        answer_seconds=1,
    )
    app = build(toy.Service("toy", "Bells.", "tests.delivery.toy", toy.TOPICS, routers=(router,)), settings)
    headers = {"Authorization": f"Bearer {issuer.mint('x', ['operator'])}", "Idempotency-Key": "k"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://toy", headers=headers) as opened:
        yield opened


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code, and the one field that it names; it is a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    return answer.status_code, problem["code"], problem["fields"][0]["field"]


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("limt=3", "limt", "this call has no query parameter 'limt': it has limit, tones"),
        ("limit=3&limit=4", "limit", "query parameter 'limit' stands twice: once at most"),
        ("%00=3", "\x00", "this call has no query parameter '\\x00': it has limit, tones"),
        ("=", "query", "this call has no query parameter '': it has limit, tones"),
        ("x=" + "y" * LONGEST_QUERY, "query", f"query: it has {LONGEST_QUERY + 2} bytes, {LONGEST_QUERY} at most"),
    ],
)
async def test_a_query_that_the_call_does_not_have_is_refused_not_ignored(
    client: httpx.AsyncClient, query: str, field: str, words: str
) -> None:
    answer = await client.get(f"/bells?{query}")
    assert refused(answer)[::2] == (422, field)
    assert answer.json()["detail"] == words


async def test_a_query_that_the_call_has_is_taken(client: httpx.AsyncClient) -> None:
    assert (await client.get("/bells?limit=3&tones=c&tones=g")).json() == {"limit": 3, "tones": ["c", "g"]}
    assert (await client.get("/bells")).json() == {"limit": 1, "tones": None}


async def test_who_may_not_call_learns_nothing_of_the_parameters(client: httpx.AsyncClient) -> None:
    answer = await client.get("/bells?nonsense=1", headers={"Authorization": "Bearer nobody"})
    assert refused(answer) == (401, "not_authenticated", "Authorization")


async def test_a_call_that_lasts_too_long_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.get("/slow")
    assert (answer.status_code, answer.json()["code"]) == (504, "too_slow")
    assert answer.json()["detail"].startswith("no answer within 1 s, the most that a call may last")


async def test_a_body_that_is_too_large_is_refused_however_it_is_sent(client: httpx.AsyncClient) -> None:
    large = b'{"text": "' + b"x" * LARGEST_REQUEST + b'"}'

    async def in_pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(large), 100_000):
            yield large[begin : begin + 100_000]

    for content in (large, in_pieces()):
        answer = await client.post("/orders", content=content, headers={"Content-Type": "application/json"})
        assert refused(answer) == (413, "too_large", "body")
        assert f"{LARGEST_REQUEST} bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "field", "words"),
    [
        (b"[" * 100_000, {}, 400, "body", "nested too deeply"),
        (b'{"text": ' + b"9" * 5_000 + b"}", {}, 400, "body", "more than 4300 digits"),
        (b"\xff{}", {}, 400, "body", "byte 0 is 0xff: JSON must be UTF-8"),
        (b'{"text": "\\ud800"}', {}, 422, "text", "unicode"),
        (b'{"\\ud800": 1}', {}, 422, "body", "unicode"),
        (b"{}", {"Content-Type": "text/plain"}, 422, "body", "a JSON object is needed, as application/json"),
        (b"{}", {"Content-Length": "many"}, 400, "Content-Length", "'many': a number of bytes is needed"),
        (b"{}", {"Content-Length": "-5"}, 400, "Content-Length", "'-5': a number of bytes is needed"),
        (b"{}", {"Content-Length": "9" * 5_000}, 413, "body", "bytes"),
        (b"{}", {"Idempotency-Key": "a\x00b"}, 422, "Idempotency-Key", "pattern"),
        (b"{}", {"X-Correlation-Id": "a\x00b"}, 422, "X-Correlation-Id", "pattern"),
        (b"{}", {"X-Correlation-Id": "x" * 101}, 422, "X-Correlation-Id", "at most 100 characters"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, field: str, words: str
) -> None:
    answer = await client.post("/orders", content=content, headers={"Content-Type": "application/json", **headers})
    assert refused(answer)[::2] == (status, field)
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "field"), [("GET", "/nowhere", 404, "path"), ("PUT", "/bells", 405, "method")]
)
async def test_a_call_that_is_none_is_a_problem_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, field: str
) -> None:
    assert refused(await client.request(method, path))[::2] == (status, field)
