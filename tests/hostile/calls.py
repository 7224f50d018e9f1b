"""Calls that a generator makes up from a service's OpenAPI, with names and ids that really exist mixed in.

What a service answers to them is held against its own document: no fault of ours (5xx), only answers that it says it
gives, each of the shape it says, and every refusal a problem whose fields name what it is about.
"""

import dataclasses
import math
import random
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup

PROBLEM = "application/problem+json"

_ALIASES = {
    "customer_id": "partner_id",
    "supplier_id": "partner_id",
    "material_definition_id": "item_id",
    "lot_id": "batch_no",
    "site": "site_id",
    "from_location_id": "location_id",
    "to_location_id": "location_id",
    "work_order_id": "work_order",
    "uom": "unit",
    "base_unit": "unit",
    "id": "batch_id",
}
"""Names of one thing: what is found under one of them is tried under the other."""

_NEVER = {"status", "kind", "code", "title", "detail", "type", "limit", "problem", "text", "name", "reason"}
"""Names that mean another thing in each place."""


_EDGES = (
    "0001-01-01",
    "9999-12-31",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-03T00:00:00Z",
    "9999-12-29T00:00:00Z",
)
"""The ends of the calendar."""


class Known:
    """Names and ids that exist, by the field they stand in; gathered from what the services answer."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Any, None]] = defaultdict(dict)
        self._things: list[dict[str, Any]] = []

    def learn(self, answer: Any, field: str = "") -> None:
        """Keep every id, number and code in an answer, and which of them belong together."""
        if isinstance(answer, dict):
            thing = {name: value for name, value in answer.items() if isinstance(value, str) and value}
            if len(thing) > 2 and len(self._things) < 5_000:
                self._things.append(thing)
            for name, value in answer.items():
                self.learn(value, name)
        elif isinstance(answer, list):
            for value in answer:
                self.learn(value, field)
        elif isinstance(answer, str | int) and not isinstance(answer, bool) and field not in _NEVER and answer != "":
            kept = self._values[_spoken(field)]
            if len(kept) < 200:
                kept[answer] = None

    def values(self, field: str) -> Sequence[Any]:
        """What is known under a field's name."""
        return list(self._values.get(_spoken(field), ()))

    def like(self, given: dict[str, Any], chance: random.Random) -> dict[str, Any]:
        """A thing that exists, such as has most fields in common with what is given; what they have in common."""
        looked_at = chance.sample(self._things, min(len(self._things), 60))
        shared = [{name: thing[name] for name in given.keys() & thing.keys()} for thing in looked_at]
        return max(shared, key=len, default={})

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))


def _spoken(field: str) -> str:
    """One spelling of one thing: `demandIds` and `demand_id` are the same."""
    snake = "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in field)
    for name in (snake, snake.removesuffix("s")):
        if name in _ALIASES:
            return _ALIASES[name]
    return snake.removesuffix("s") if snake.endswith(("_ids", "_nos")) else snake


def learn_all(known: Known, documents: dict[str, dict[str, Any]], urls: dict[str, str], token: str) -> None:
    """Read everything that can be read without knowing anything, then what that made known."""
    with httpx.Client(timeout=30, headers={"Authorization": f"Bearer {token}"}) as client:
        for _ in range(2):
            for service, document in documents.items():
                for path, operations in document["paths"].items():
                    if "get" in operations and path != "/metrics":
                        for place in _places(path, known):
                            answer = client.get(f"{urls[service]}{place}")
                            if answer.status_code == 200 and "json" in answer.headers["content-type"]:
                                known.learn(answer.json())


def _places(path: str, known: Known) -> Iterator[str]:
    """A path with known things in it, some of each."""
    names = [part.partition("}")[0] for part in path.split("{")[1:]]
    if all(known.values(name) for name in names):
        for n in range(5 if names else 1):
            place = path
            for name in names:
                values = known.values(name)
                place = place.replace(f"{{{name}}}", quote(str(values[n % len(values)]), safe=""))
            yield place


@dataclasses.dataclass
class Storm:
    """What came of many calls to one service."""

    service: str
    calls: int = 0
    statuses: Counter[int] = dataclasses.field(default_factory=Counter)
    reached: Counter[str] = dataclasses.field(default_factory=Counter)
    """Successful answers by call."""
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    """By call and kind of failure: the first one, as a person can repeat it."""

    def told(self) -> str:
        """One line for people."""
        by_kind = ", ".join(f"{count} × {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.service:<12} {self.calls:>5} calls of {len(self.reached)} succeeded kinds: {by_kind}"


def storm(
    service: str,
    document: dict[str, Any],
    url: str,
    tokens: Sequence[str],
    known: Known,
    *,
    calls: int,
    start: int,
) -> Storm:
    """Make `calls` calls or more, half of them as the document allows, half not; the same `start`, the same calls.

    Args:
        tokens: the first is used for most calls and may do everything.
        known: what exists; more is learnt from the answers.
    """
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [one for one in operations if not one.path.startswith(("/health", "/metrics"))]
    found = Storm(service)
    session = requests.Session()
    weights = {one.label: 3 if one.body else 1 for one in operations}
    unit = calls / sum(weights.values()) / 2
    round_ = 0
    while found.calls < calls:
        for one in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                wanted = math.ceil(unit * weights[one.label])
                _generate(one, mode, wanted, start + round_, _Caller(one, found, session, tokens, known))
        round_ += 1
    session.close()
    return found


def _generate(operation: Any, mode: GenerationMode, count: int, start: int, call: Callable[[Any, int], None]) -> None:
    if mode is GenerationMode.NEGATIVE and not (operation.body or [*operation.iter_parameters()]):
        return

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.integers(0, 2**32))
    def run(case: Any, luck: int) -> None:
        call(case, luck)

    run()


class _Caller:
    """Makes one call and judges its answer."""

    def __init__(
        self, operation: Any, found: Storm, session: requests.Session, tokens: Sequence[str], known: Known
    ) -> None:
        self._label = operation.label
        self._found = found
        self._session = session
        self._tokens = tokens
        self._known = known

    def __call__(self, case: Any, luck: int) -> None:
        chance = random.Random(luck)
        if chance.random() < 0.8:
            known = self._real(case.path_parameters, chance, 0.9)
            same = case.path_parameters or {}
            # What the generator made is quoted already.
            case.path_parameters = {
                name: value if value == same[name] else quote(str(value), safe="") for name, value in known.items()
            }
        if chance.random() < 0.6:
            case.query = self._real(case.query, chance, 0.6)
        if chance.random() < 0.7 and isinstance(case.body, dict | list):
            case.body = self._real(case.body, chance, 0.8)
        token = self._tokens[0] if chance.random() < 0.85 else chance.choice(self._tokens)
        case.headers = {**case.headers, "Authorization": f"Bearer {token}"}
        if chance.random() < 0.9 and case.method in {"POST", "PUT"}:
            case.headers["Idempotency-Key"] = str(uuid.UUID(int=chance.getrandbits(128)))
        try:
            answer = case.call(session=self._session, timeout=60)
        except requests.exceptions.InvalidHeader:
            return  # no client can send it
        self._found.calls += 1
        self._found.statuses[answer.status_code] += 1
        if answer.status_code < 300:
            self._found.reached[self._label] += 1
            if "json" in answer.headers.get("content-type", [""])[0] and len(answer.content) < 200_000:
                self._known.learn(answer.json())
        for failure in judged(case, answer):
            kind = f"{self._label}: {type(failure).__name__}: {answer.status_code}"
            if kind not in self._found.failures:
                body = repr(case.body)[:600]
                self._found.failures[kind] = (
                    f"{failure}\n{case.method} {case.formatted_path} query={case.query} "
                    f"headers={dict(case.headers)}\nbody={body}\n→ {answer.status_code} {answer.text[:600]}"
                )

    def _real(self, given: Any, chance: random.Random, share: float, field: str = "") -> Any:
        """The same with some values replaced by such as exist."""
        if isinstance(given, dict):
            if chance.random() < 0.5:
                given = {**given, **self._known.like(given, chance)}
                share = 0.1
            return {name: self._real(value, chance, share, str(name)) for name, value in given.items()}
        if isinstance(given, list):
            return [self._real(value, chance, share, field) for value in given]
        if field.endswith(("_on", "_at", "as_of")) and chance.random() < 0.1:
            return chance.choice(_EDGES)
        values = self._known.values(field)
        return chance.choice(values) if values and chance.random() < share else given


class Unnamed(Failure):
    """A refusal that is no problem, or does not say what it is about."""

    __slots__ = ()

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(operation=operation, title="Unnamed refusal", message=message)


def judged(case: Any, answer: Any) -> list[Exception]:
    """What is wrong with an answer."""
    found: list[Exception] = []
    checks = [
        not_a_server_error,
        *CHECKS.get_by_names(["status_code_conformance", "content_type_conformance", "response_schema_conformance"]),
    ]
    try:
        case.validate_response(answer, checks=checks)
    except FailureGroup as failed:
        found += failed.exceptions
    if 400 <= answer.status_code < 500:
        found += _unnamed(case, answer)
    return found


def _unnamed(case: Any, answer: Any) -> list[Exception]:
    kind = answer.headers.get("content-type", [""])[0]
    if kind != PROBLEM:
        return [Unnamed(case.operation.label, f"content type {kind!r} of a refusal")]
    problem = answer.json()
    if problem.get("status") != answer.status_code or not problem.get("detail") or not problem.get("code"):
        return [Unnamed(case.operation.label, "no status, code or detail")]
    if not problem.get("fields") or not all(each["field"] and each["problem"] for each in problem["fields"]):
        return [Unnamed(case.operation.label, f"code {problem['code']!r} names no field")]
    return []
