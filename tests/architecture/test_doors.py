"""Every route of every service refuses a missing, expired, foreign and wrong-role token."""

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from delivery import Settings, build
from deploy.local.issuer import ROLES, Issuer

SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")
HARMLESS = ("/preview", "/scans", "/checks")
"""Ends of paths whose POST only looks."""
OPEN = {"/health/live", "/health/ready", "/metrics"}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Somebody else's issuer, with a key of its own."""
    return Issuer(tmp_path_factory.mktemp("stranger"))


def settings_of(issuer: Issuer) -> Settings:
    return Settings(
        database_dsn="postgresql://nobody@127.0.0.1:1/none",
        kafka_bootstrap_servers="127.0.0.1:1",
        token_issuer="batchwise-local",
        token_jwks=str(issuer.jwks),
        environment="local",
    )


def app_of(name: str, issuer: Issuer) -> FastAPI:
    return build(importlib.import_module(f"services.{name}.app").service, settings_of(issuer))


def doors(app: FastAPI) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Every method and path that OpenAPI shows, something in the place of path parameters, and who may pass."""
    for path, operations in app.openapi()["paths"].items():
        if path not in OPEN:
            for method in operations:
                yield method.upper(), re.sub(r"\{[^}]+\}", "1", path), app.state.doors[method.upper(), path]


@pytest.mark.parametrize("name", SERVICES)
async def test_every_door_refuses_who_may_not_enter(name: str, issuer: Issuer, stranger: Issuer) -> None:
    app = app_of(name, issuer)
    everyone = list(ROLES)
    unwelcome = {
        "missing": None,
        "expired": issuer.mint("x", everyone, minutes=-1),
        "signed by a stranger": stranger.mint("x", everyone),
        "of another issuer": issuer.mint("x", everyone, issuer="https://elsewhere.example"),
        "for another audience": issuer.mint("x", everyone, audience="elsewhere"),
        "no token at all": "nonsense",
    }
    tried = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://door") as client:
        for method, path, allowed in doors(app):
            for why, token in unwelcome.items():
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                answer = await client.request(method, path, headers={**headers, "Idempotency-Key": "k"})
                assert answer.status_code == 401, f"{method} {path} let in a token that is {why}: {answer.text}"
                assert answer.headers["content-type"] == "application/problem+json"
            wrong = sorted(set(ROLES) - allowed)
            if wrong:
                headers = {"Authorization": f"Bearer {issuer.mint('x', wrong)}", "Idempotency-Key": "k"}
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 403, f"{method} {path} let in roles {wrong}: {answer.text}"
            tried += 1
    assert tried >= 8, f"{name} shows only {tried} doors"


@pytest.mark.parametrize("name", SERVICES)
async def test_writing_is_for_those_who_act_not_for_auditors(name: str, issuer: Issuer) -> None:
    for method, path, roles in doors(app_of(name, issuer)):
        assert roles <= set(ROLES), f"{method} {path} names a role that nobody has: {sorted(roles - set(ROLES))}"
        if method != "GET" and not path.endswith(HARMLESS):
            assert "auditor" not in roles, f"{method} {path} lets an auditor write"


async def test_a_service_with_an_open_door_does_not_start(issuer: Issuer) -> None:
    inner = APIRouter(prefix="/inner")
    inner.add_api_route("/open", lambda: "come in")
    outer = APIRouter(prefix="/outer")
    outer.include_router(inner)
    service = dataclasses.replace(importlib.import_module("services.trace.app").service, routers=(outer,))
    with pytest.raises(ValueError, match=r"ask for no token: \[\('GET', '/outer/inner/open'\)\]"):
        build(service, settings_of(issuer))


def test_the_sources_hold_no_secret() -> None:
    root = Path(__file__).resolve().parents[2]
    pattern = re.compile(r"-----BEGIN (EC |RSA |)PRIVATE KEY|eyJhbGciOi[A-Za-z0-9_-]{20,}")
    texts = [
        path for path in root.rglob("*") if path.suffix in {".py", ".json", ".yml", ".toml", ".md", ".csv", ".sql"}
    ]
    looked = [path for path in texts if not {".venv", ".local", ".git"} & set(path.relative_to(root).parts)]
    assert len(looked) > 100
    assert [str(path) for path in looked if pattern.search(path.read_text("utf-8", "replace"))] == []
