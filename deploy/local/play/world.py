"""The services as people and machines outside see them: HTTP with tokens, and waiting until something is so.

Nothing here looks into a database: what cannot be asked over HTTP is not known.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from deploy.local.issuer import USERS
from deploy.local.play.faults import StepFailed
from deploy.local.processes import System

Found = TypeVar("Found")

PATIENCE = 30.0
"""Seconds until something that was awaited is a failure; on an idle machine it takes a fraction of one."""

_PAUSE = 0.02
_TOO_BUSY = (502, 503, 504)


class World:
    """Five services behind HTTP. Every call is made by a person of `issuer.USERS`; every write has its own key.

    `step` is the part of the story that is being told: a failure names it. Use it as a context manager.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.step = "before the first step"
        self._tokens = {user: system.token(user) for user in USERS}
        self._clients = {
            name: httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False)
            for name, url in system.urls.items()
        }
        self.calls = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(client.aclose() for client in self._clients.values()))

    async def get(self, service: str, path: str, *, by: str = "aiko", **query: Any) -> Any:
        """Ask; the JSON that is answered. By default it is the auditor who asks: she may read everything."""
        asked = {name: value for name, value in query.items() if value is not None}
        return await self._answer(service, "GET", path, by=by, params=asked)

    async def find(self, service: str, path: str, *, by: str = "aiko", **query: Any) -> Any | None:
        """As `get`, for what may not be known yet: None when it is not (404)."""
        response = await self._send(service, "GET", path, by=by, params=query)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.is_error:
            raise self._failure(service, response)
        return response.json()

    async def all(self, service: str, path: str, *, by: str = "aiko", **query: Any) -> list[Any]:
        """Ask for a list, page after page until the last."""
        rows: list[Any] = []
        after: str | None = None
        while True:
            page = await self.get(service, path, by=by, after=after, **query)
            if isinstance(page, list):
                return page
            rows.extend(page["items"])
            after = page.get("next")
            if after is None:
                return rows

    async def post(
        self, service: str, path: str, body: Mapping[str, Any] | list[Any] | None = None, *, by: str, **query: Any
    ) -> Any:
        """Let somebody do something; the JSON that is answered. A refusal fails the step, with the reason."""
        return await self._answer(service, "POST", path, by=by, params=query, json=_plain(body or {}), **_new_key())

    async def put(self, service: str, path: str, body: Mapping[str, Any], *, by: str) -> Any:
        """As `post`, for what is defined rather than done."""
        return await self._answer(service, "PUT", path, by=by, json=_plain(body), **_new_key())

    async def post_text(self, service: str, path: str, text: str, *, kind: str, by: str, **query: Any) -> Any:
        """As `post`, for a body that is no JSON: `kind` is its media type."""
        headers = {"Content-Type": kind} | _new_key()["headers"]
        return await self._answer(service, "POST", path, by=by, params=query, content=text.encode(), headers=headers)

    async def attempt(self, service: str, path: str, body: Mapping[str, Any], *, by: str) -> tuple[int, Any]:
        """As `post`, where a refusal (4xx) is an answer too: the status and the JSON."""
        response = await self._send(service, "POST", path, by=by, json=_plain(body), **_new_key())
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise self._failure(service, response)
        return response.status_code, response.json()

    async def until(
        self,
        awaited: str,
        ask: Callable[[], Awaitable[Found | None]],
        *,
        service: str | None = None,
        seconds: float = PATIENCE,
        now: Callable[[], Awaitable[object]] | None = None,
    ) -> Found:
        """Ask again until the answer is neither None nor False, and return it.

        Raises:
            StepFailed: it was not so within `seconds`; names what was `awaited` and, with `now`, what is so instead.
        """
        deadline = time.monotonic() + seconds
        pause = _PAUSE
        while True:
            found = await ask()
            if found is not None and found is not False:
                return found
            if time.monotonic() > deadline:
                instead = f"; now: {await now()}" if now is not None else ""
                raise self.failed(f"waited {seconds:g} s in vain until {awaited}{instead}", service)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    def failed(self, why: str, service: str | None = None) -> StepFailed:
        """The failure of the step that is being told."""
        return StepFailed(self.step, why, service)

    async def _answer(self, service: str, method: str, path: str, **call: Any) -> Any:
        response = await self._send(service, method, path, **call)
        if response.is_error:
            raise self._failure(service, response)
        return response.json() if response.content else None

    async def _send(
        self, service: str, method: str, path: str, *, by: str, headers: Mapping[str, str] | None = None, **call: Any
    ) -> httpx.Response:
        """Send, and send again with the same key while the service says `not now` or cannot be reached."""
        sent = {"Authorization": f"Bearer {self._tokens[by]}", **(headers or {})}
        deadline = time.monotonic() + PATIENCE
        pause = _PAUSE
        while True:
            self.calls += 1
            try:
                response = await self._clients[service].request(method, path, headers=sent, **call)
                if response.status_code not in _TOO_BUSY or time.monotonic() > deadline:
                    return response
            except httpx.TransportError as fault:
                if time.monotonic() > deadline:
                    why = f"{service} cannot be reached: {type(fault).__name__}: {fault}"
                    raise self.failed(why, service) from fault
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _failure(self, service: str, response: httpx.Response) -> StepFailed:
        try:
            answer = response.json()
            why = answer.get("detail") or json.dumps(answer)
        except (ValueError, AttributeError):
            why = response.text
        asked = f"{response.request.method} {response.request.url.raw_path.decode()}"
        return self.failed(f"{asked} was answered {response.status_code}: {why}"[:600], service)


def _new_key() -> dict[str, dict[str, str]]:
    return {"headers": {"Idempotency-Key": str(uuid.uuid4())}}


def _plain(body: Mapping[str, Any] | list[Any]) -> Any:
    """As JSON takes it: decimals and dates as text, absent values left out."""
    if isinstance(body, Mapping):
        return {name: _value(value) for name, value in body.items() if value is not None}
    return [_value(value) for value in body]


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping | list | tuple):
        return _plain(value if isinstance(value, Mapping) else list(value))
    return str(value)
