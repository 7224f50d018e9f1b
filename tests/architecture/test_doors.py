"""Every route of every service refuses a missing, expired, foreign and wrong-role token."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from delivery import Settings, build
from deploy.local.issuer import ROLES, Issuer

SERVICES = ("receiving", "inventory", "allocation", "trace", "integration")
OPEN = {"/health/live", "/health/ready", "/metrics"}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Somebody else's issuer, with a key of its own."""
    return Issuer(tmp_path_factory.mktemp("stranger"))


def app_of(name: str, issuer: Issuer) -> FastAPI:
    settings = Settings(
        database_dsn="postgresql://nobody@127.0.0.1:1/none",
        kafka_bootstrap_servers="127.0.0.1:1",
        token_issuer="batchwise-local",
        token_jwks=str(issuer.jwks),
        environment="local",
    )
    return build(importlib.import_module(f"services.{name}.app").service, settings)


def doors(app: FastAPI) -> Iterator[tuple[str, str, APIRoute]]:
    """Every method and path, with something in the place of each path parameter."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.path not in OPEN:
            for method in sorted(route.methods):
                yield method, re.sub(r"\{[^}]+\}", "1", route.path), route


def allowed_roles(route: APIRoute) -> frozenset[str]:
    found: list[frozenset[str]] = []

    def look(dependant: object) -> None:
        roles = getattr(getattr(dependant, "call", None), "allowed_roles", None)
        if roles is not None:
            found.append(roles)
        for inner in getattr(dependant, "dependencies", ()):
            look(inner)

    look(route.dependant)
    return frozenset.intersection(*found)


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
        for method, path, route in doors(app):
            for why, token in unwelcome.items():
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                answer = await client.request(method, path, headers={**headers, "Idempotency-Key": "k"})
                assert answer.status_code == 401, f"{method} {path} let in a token that is {why}: {answer.text}"
                assert answer.headers["content-type"] == "application/problem+json"
            wrong = sorted(set(ROLES) - allowed_roles(route))
            if wrong:
                headers = {"Authorization": f"Bearer {issuer.mint('x', wrong)}", "Idempotency-Key": "k"}
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 403, f"{method} {path} let in roles {wrong}: {answer.text}"
            tried += 1
    assert tried >= 8, f"{name} shows only {tried} doors"


@pytest.mark.parametrize("name", SERVICES)
def test_writing_is_for_those_who_act_not_for_auditors(name: str, issuer: Issuer) -> None:
    for method, path, route in doors(app_of(name, issuer)):
        roles = allowed_roles(route)
        assert roles <= set(ROLES), f"{method} {path} names a role that nobody has: {sorted(roles - set(ROLES))}"
        if method != "GET" and "preview" not in path and "scans" not in path:
            assert "auditor" not in roles, f"{method} {path} lets an auditor write"


def test_the_sources_hold_no_secret() -> None:
    root = Path(__file__).resolve().parents[2]
    pattern = re.compile(r"-----BEGIN (EC |RSA |)PRIVATE KEY|eyJhbGciOi[A-Za-z0-9_-]{20,}")
    texts = [
        path for path in root.rglob("*") if path.suffix in {".py", ".json", ".yml", ".toml", ".md", ".csv", ".sql"}
    ]
    looked = [path for path in texts if not {".venv", ".local", ".git"} & set(path.relative_to(root).parts)]
    assert len(looked) > 100
    assert [str(path) for path in looked if pattern.search(path.read_text("utf-8", "replace"))] == []
