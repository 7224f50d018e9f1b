"""HTTP writes take effect once, share transactions, and carry their trace to the last write."""

import asyncio
import datetime as dt
import itertools
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import ClassVar
from unittest import mock

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from delivery import Announcements, Said, Service, Work, hears
from delivery.kafka import create_topics
from delivery.migrating import migrate
from delivery.security import Doorkeeper
from deploy.local.servers import Servers
from tests.delivery.playground import Here, Playground, until
from tests.delivery.toy import app as toy


@pytest.fixture
async def here(place: Playground) -> AsyncIterator[Here]:
    async with place.here() as serving:
        yield serving


async def test_the_same_key_and_body_give_the_first_answer_again_also_when_they_arrive_together(
    here: Here, place: Playground
) -> None:
    key = {"Idempotency-Key": "one-and-the-same"}
    async with place.here() as replica:
        answers = await asyncio.gather(
            *(at.post("/rings", {"name": "a", "n": 1}, **key) for at in (here, replica, here, replica, here))
        )
    later = await here.post("/rings", {"name": "a", "n": 1}, **key)
    assert {(answer.status_code, answer.text) for answer in (*answers, later)} == {(201, '{"name":"a","n":1}')}
    assert later.headers["Idempotency-Replayed"] == "true"
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert await place.seen("a") == [1]


async def test_the_same_key_with_another_body_is_refused(here: Here, place: Playground) -> None:
    key = {"Idempotency-Key": "taken"}
    assert (await here.post("/rings", {"name": "a", "n": 1}, **key)).status_code == 201
    other = await here.post("/rings", {"name": "a", "n": 2}, **key)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    together = await asyncio.gather(
        *(here.post("/rings", {"name": "b", "n": n}, **{"Idempotency-Key": "both"}) for n in (1, 2))
    )
    assert sorted(answer.status_code for answer in together) == [201, 422]
    assert await place.seen("a") == [1]
    assert len(await place.seen("b")) == 1


async def test_another_person_may_use_the_same_key(here: Here, place: Playground) -> None:
    for role in ("operator", "admin"):
        answer = await here.post("/rings", {"name": "a", "n": 1}, role=role, **{"Idempotency-Key": "mine"})
        assert answer.status_code == 201
    assert await place.seen("a") == [1, 1]


async def test_a_write_without_a_key_is_refused_and_says_so(here: Here) -> None:
    headers = here.headers()
    del headers["Idempotency-Key"]
    answer = await here.client.post("/rings", json={"name": "a", "n": 1}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "Idempotency-Key"


async def test_a_body_that_is_too_large_is_refused_also_when_it_does_not_say_its_length(here: Here) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1_000_000

    headers = {**here.headers(), "Content-Type": "application/json"}
    answer = await here.client.post("/rings", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_token_of_another_algorithm_than_its_key_is_refused(here: Here) -> None:
    genuine = here.issuer.mint("somebody", ["operator"])
    kid = jwt.get_unverified_header(genuine)["kid"]
    forged = jwt.encode({"sub": "x"}, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": kid})
    answer = await here.client.post(
        "/rings", json={"name": "a", "n": 1}, headers={**here.headers(), "Authorization": f"Bearer {forged}"}
    )
    assert answer.status_code == 401


async def test_an_issuer_that_is_away_is_asked_now_and_then_and_not_for_every_call(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    doorkeeper = Doorkeeper(place.settings)
    await doorkeeper.check(place.issuer.mint("somebody", ["operator"]))
    monkeypatch.setattr(doorkeeper, "_settings", place.with_settings(token_jwks=str(place.folder / "gone")))
    monkeypatch.setattr(doorkeeper, "_tried_at", doorkeeper._tried_at - 3_600)
    asked = mock.AsyncMock(wraps=doorkeeper._read_keys)
    monkeypatch.setattr(doorkeeper, "_read_keys", asked)
    for n in range(5):
        # The keys that it has still hold.
        assert (await doorkeeper.check(place.issuer.mint(f"somebody{n}", ["operator"]))).subject == f"somebody{n}"
    assert asked.await_count == 1


async def test_a_clock_that_is_a_little_behind_the_issuers_refuses_nobody(
    place: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = place.issuer.mint("somebody", ["operator"])

    class Behind(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Behind":
            return super().now(tz) - dt.timedelta(seconds=5)

    monkeypatch.setattr("jwt.api_jwt.datetime", Behind)
    assert (await Doorkeeper(place.settings).check(token)).subject == "somebody"


async def test_a_command_that_fails_does_not_take_its_neighbours_with_it(here: Here, place: Playground) -> None:
    bodies = [{"name": name, "n": 1} for name in ("a", "bug", "b", "bug", "c")]
    answers = await asyncio.gather(*(here.post("/rings", body) for body in bodies))
    assert [answer.status_code for answer in answers] == [201, 500, 201, 500, 201]
    assert await place.total() == 3
    assert answers[1].json()["code"] == "fault"


async def test_waiting_commands_share_a_transaction(here: Here, place: Playground) -> None:
    await asyncio.gather(*(here.post("/rings", {"name": "a", "n": n}) for n in range(60)))
    groups = await here.metric("delivery_command_group_count")
    assert groups < 30, f"60 commands took {groups} transactions"
    assert sorted(await place.seen("a")) == list(range(60))


@pytest.mark.parametrize(
    ("claims", "status", "says"),
    [
        (None, 401, "no bearer token"),
        ({"minutes": -1}, 401, "expired"),
        ({"audience": "somebody-else"}, 401, "Audience"),
        ({"issuer": "https://elsewhere.example"}, 401, "issuer"),
        ({"roles": ["auditor"]}, 403, "one of ['admin', 'operator'] is needed"),
    ],
)
async def test_a_call_without_the_right_token_is_refused_with_the_reason(
    here: Here, claims: dict[str, object] | None, status: int, says: str
) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    if claims is not None:
        roles = claims.pop("roles", ["operator"])
        headers["Authorization"] = f"Bearer {here.issuer.mint('somebody', roles, **claims)}"  # type: ignore[arg-type]
    answer = await here.client.post("/rings", json={"name": "a", "n": 1}, headers=headers)
    assert answer.status_code == status
    assert says.lower() in answer.json()["detail"].lower()


class Told(toy.Counted):
    """The second service passes on what it heard."""

    event_type: ClassVar[str] = "second.Told"


class Retold(toy.Counted):
    """And the third."""

    event_type: ClassVar[str] = "third.Retold"


TOLD = toy.ToyTopic("second.told.v1", (Told,))
RETOLD = toy.ToyTopic("third.retold.v1", (Retold,))


@hears(toy.Counted)
async def tell(work: Work, heard: Sequence[toy.Counted]) -> Announcements:
    return [Said(Told(name=each.name, n=each.n), because=each) for each in heard]


@hears(Told)
async def retell(work: Work, heard: Sequence[Told]) -> Announcements:
    await work.db.executemany(
        "INSERT INTO counted (name, total, seen) VALUES ($1, 0, $2)",
        [(f"retold {each.name}", [each.n]) for each in heard],
    )
    return [Said(Retold(name=each.name, n=each.n), because=each) for each in heard]


async def test_one_trace_runs_from_an_http_call_through_three_services_to_the_last_write(
    place: Playground, servers: Servers
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    topics = (*toy.TOPICS, TOLD, RETOLD)
    await create_topics(place.settings, topics, client="trace")
    second_db, third_db = [await servers.create_database(f"trace_{uuid.uuid4().hex}") for _ in range(2)]
    second = Service("second", "Tells.", "tests.delivery.toy", topics, hears=(tell,))
    third = Service("third", "Retells.", "tests.delivery.toy", topics, hears=(retell,))
    for service, dsn in ((second, second_db), (third, third_db)):
        await migrate(dsn, service.package, service.role)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(place.here(tracer_provider=provider))
        await stack.enter_async_context(place.here(second, tracer_provider=provider, database_dsn=second_db))
        last = await stack.enter_async_context(place.here(third, tracer_provider=provider, database_dsn=third_db))
        await first.post("/rings", {"name": "a", "n": 7}, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")

        async def retold() -> bool:
            return bool(await last.runtime.pool.fetchval("SELECT count(*) FROM counted WHERE name = 'retold a'"))

        await until(retold)

        async def all_ended() -> bool:
            return "hear second.Told" in [span.name for span in exporter.get_finished_spans()]

        await until(all_ended)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    chain = ["POST /rings", "do Ring", "hear toy.Counted", "hear second.Told"]
    assert {f"{spans[name].context.trace_id:032x}" for name in chain} == {"ab" * 16}
    for parent, child in itertools.pairwise(chain):
        assert spans[child].parent.span_id == spans[parent].context.span_id, f"{child} is not caused by {parent}"
    assert spans["hear second.Told"].end_time > spans["POST /rings"].start_time


async def test_chunks_are_small_while_people_wait_for_answers_and_whole_again_afterwards(here: Here) -> None:
    consumer, whole = here.runtime.consumer, here.runtime.settings.chunk_records
    assert consumer.most_records() == whole
    assert (await here.post("/rings", {"name": "a", "n": 1})).status_code == 201
    assert consumer.most_records() == 10

    async def whole_again() -> bool:
        return consumer.most_records() == whole

    await until(whole_again, seconds=5)
