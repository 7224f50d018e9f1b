"""Who calls: bearer tokens (JWT), checked for issuer, audience, time and signature; roles and sites per route."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import jwt
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from delivery.limits import refuse_unknown_parameters
from delivery.problems import problem
from delivery.settings import Settings

_log = structlog.get_logger("delivery.security")

_ALGORITHMS = ["ES256", "RS256", "EdDSA"]
_REFRESH_SECONDS = 300.0
_RETRY_SECONDS = 10.0
_NO_KEYS_RETRY_SECONDS = 1.0
_CLOCKS_APART_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Person:
    """Who calls, as the token says. `sites` holds `*` for every site."""

    subject: str
    name: str
    roles: frozenset[str]
    sites: frozenset[str]

    def may_at(self, site_id: str) -> bool:
        """Whether the token reaches this site."""
        return "*" in self.sites or site_id in self.sites

    def require_site(self, site_id: str) -> None:
        """Refuse (403) a call about a site that the token does not reach."""
        if not self.may_at(site_id):
            raise problem(
                403,
                "wrong_site",
                f"site {site_id!r} is not among the sites of this token: {sorted(self.sites)}",
                field="site_id",
            )


class TokenRefused(Exception):
    """The token does not hold; the text says why."""


class Doorkeeper:
    """Checks tokens against the issuer's keys, from a JWKS file, a JWKS URL, or OIDC discovery."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._unreachable = ""
        self._lock = asyncio.Lock()
        self._known: dict[str, tuple[float, Person]] = {}

    async def check(self, token: str) -> Person:
        """The person of a token. Raises `TokenRefused`."""
        known = self._known.get(token)
        if known and known[0] > time.time():
            return known[1]
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenRefused(f"not a JWT: {error}") from None
        key = await self._key(str(header.get("kid", "")))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._settings.token_audience,
                issuer=self._settings.token_issuer,
                leeway=_CLOCKS_APART_SECONDS,
                options={"require": ["exp", "iat", "sub", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefused(str(error)) from None
        person = Person(
            subject=str(claims["sub"]),
            name=str(claims.get("name") or claims["sub"]),
            roles=frozenset(_words(claims.get("roles"))),
            sites=frozenset(_words(claims.get("sites"))),
        )
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[token] = (min(float(claims["exp"]), time.time() + _REFRESH_SECONDS), person)
        return person

    async def _key(self, kid: str) -> jwt.PyJWK:
        """The issuer's key of that name; with its own algorithm, so that a token cannot choose another."""
        if self._stale(kid):
            async with self._lock:
                if self._stale(kid):
                    await self._read_keys()
        if not self._keys:
            raise problem(503, "issuer_unreachable", f"the issuer's keys cannot be read: {self._unreachable}")
        if kid not in self._keys:
            raise TokenRefused(f"signed with key {kid!r}, which issuer {self._settings.token_issuer!r} does not have")
        return self._keys[kid]

    def _stale(self, kid: str) -> bool:
        """Whether to ask the issuer: now and then, also while it is away, and not for every call."""
        retry = _RETRY_SECONDS if self._keys else _NO_KEYS_RETRY_SECONDS
        return time.monotonic() - self._tried_at > (_REFRESH_SECONDS if kid in self._keys else retry)

    async def _read_keys(self) -> None:
        """Read the issuer's keys; those that were read before hold until it can be reached again."""
        where = self._settings.token_jwks
        try:
            if where and "://" not in where:
                found = json.loads(await asyncio.to_thread(Path(where).read_text, "utf-8"))
            else:
                async with httpx.AsyncClient(timeout=5) as client:
                    if not where:
                        issuer = self._settings.token_issuer.rstrip("/")
                        about = await client.get(f"{issuer}/.well-known/openid-configuration")
                        where = about.raise_for_status().json()["jwks_uri"]
                    found = (await client.get(where)).raise_for_status().json()
            self._keys = {key.key_id or "": key for key in jwt.PyJWKSet.from_dict(found).keys}
        except (OSError, ValueError, KeyError, httpx.HTTPError, jwt.PyJWTError) as error:
            self._unreachable = f"{type(error).__name__}: {error}"
            _log.warning("the issuer's keys cannot be read", error=self._unreachable)
        finally:
            self._tried_at = time.monotonic()


def _words(claim: object) -> list[str]:
    """A claim that is a list of words, or words in one text."""
    if isinstance(claim, str):
        return claim.split()
    return [str(word) for word in claim] if isinstance(claim, list) else []


_bearer = HTTPBearer(auto_error=False, description="A JWT of the configured issuer.")


def requires(*roles: str) -> Callable[..., Awaitable[Person]]:
    """A dependency: the caller must hold one of `roles` (`admin` always may). 401 without a valid token, 403 else.

    Used alone for reads; `desk(*roles)` includes it for writes. A route without it makes the service refuse to start.
    """
    allowed = frozenset(roles) | {"admin"}

    async def person(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Person:
        if credentials is None:
            raise _who("the call has no bearer token")
        try:
            found: Person = await request.app.state.runtime.doorkeeper.check(credentials.credentials)
        except TokenRefused as refused:
            raise _who(str(refused)) from None
        if not found.roles & allowed:
            raise problem(
                403,
                "wrong_role",
                f"{found.subject!r} has roles {sorted(found.roles)}; one of {sorted(allowed)} is needed",
                field="Authorization",
            )
        # Here, since every call passes: who may not call learns nothing of its parameters.
        refuse_unknown_parameters(request)
        return found

    person.allowed_roles = allowed  # type: ignore[attr-defined]
    return person


def _who(why: str) -> Exception:
    refused = problem(401, "not_authenticated", why, field="Authorization")
    refused.headers["WWW-Authenticate"] = "Bearer"
    return refused
