"""The rules of stock that stand alone: status, expiry, the gate, and where goods may stand."""

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.inventory import RefusalCode
from contracts.values import Climate, HoldKind, Purpose, Quality
from services.inventory.domain.expiry import ShelfLife, Watched, expires_at, is_expired, local_day, what_is_due
from services.inventory.domain.gate import Asked, refusal
from services.inventory.domain.holds import Hold, covering, following
from services.inventory.domain.ledger import Spot
from services.inventory.domain.matrix import HOMES, MATRIX, Allowed, Operation, Status, allows, forbids, statuses
from services.inventory.domain.put_away import Goods, Location, PlaceCode, Shelf, objection, propose

D = Decimal
BATCH = uuid.UUID(int=1)
HERE = Spot("S", "A", Quality.RELEASED)

words = st.frozensets(st.sampled_from(Status), min_size=1)
operations = st.sampled_from(Operation)
known_qualities = st.sampled_from([Quality.PENDING, Quality.RELEASED, Quality.REJECTED])
kinds = st.lists(st.sampled_from([kind for kind in HoldKind if kind is not HoldKind.UNKNOWN]), max_size=4)


# The matrix


def test_every_status_answers_every_operation() -> None:
    assert {status: set(row) for status, row in MATRIX.items()} == {status: set(Operation) for status in Status}


@given(words, words, operations)
def test_a_further_status_never_allows_more(some: frozenset[Status], more: frozenset[Status], what: Operation) -> None:
    strictness = [Allowed.YES, Allowed.ISOLATE, Allowed.NO]
    assert strictness.index(allows(some | more, what)) >= strictness.index(allows(some, what))


@given(words, operations)
def test_what_is_not_allowed_is_because_of_a_status_that_can_be_named(some: frozenset[Status], what: Operation) -> None:
    assert (allows(some, what) is Allowed.YES) == (not forbids(some, what))
    assert set(forbids(some, what)) <= some


@given(known_qualities, kinds, st.booleans(), operations)
def test_only_released_goods_under_no_hold_and_in_date_can_be_reserved_picked_shipped_or_consumed(
    quality: Quality, holds: list[HoldKind], expired: bool, what: Operation
) -> None:
    free = allows(statuses(quality, holds, expired=expired), what) is Allowed.YES
    if what is not Operation.MOVE:
        assert free == (quality is Quality.RELEASED and not holds and not expired)


def test_goods_of_a_quality_that_we_do_not_know_are_treated_as_not_yet_inspected() -> None:
    assert statuses(Quality.UNKNOWN, [], expired=False) == {Status.PENDING}


# Holds


def test_a_hold_covers_its_batch_at_its_place_and_nothing_else() -> None:
    def reach(**where: str) -> list[bool]:
        hold = Hold(uuid.uuid4(), "I", BATCH, HoldKind.MANUAL, "seal", **where)
        asked = [(BATCH, HERE), (BATCH, Spot("S", "B", Quality.PENDING)), (BATCH, Spot("T", "A", Quality.RELEASED))]
        return [bool(covering([hold], *each)) for each in [*asked, (uuid.UUID(int=2), HERE)]]

    assert reach() == [True, True, True, False]
    assert reach(site_id="S") == [True, True, False, False]
    assert reach(site_id="S", location_id="A") == [True, False, False, False]
    with pytest.raises(ValueError, match="'A' without its site"):
        reach(location_id="A")


def test_a_hold_on_a_bin_goes_along_once_when_goods_leave_the_bin_and_a_count_stays() -> None:
    there = Spot("S", "B", Quality.RELEASED)
    excursion = Hold(uuid.uuid4(), "I", BATCH, HoldKind.EXCURSION, "9 °C", "S", "A", "E-1")
    count = Hold(uuid.uuid4(), "I", BATCH, HoldKind.COUNT, "week 9", "S", "A")
    everywhere = Hold(uuid.uuid4(), "I", BATCH, HoldKind.RECALL, "glass", reference="R-1")
    holds = [excursion, count, everywhere]
    assert following(holds, BATCH, HERE, there) == [excursion]
    copied = Hold(uuid.uuid4(), "I", BATCH, HoldKind.EXCURSION, "came from A", "S", "B", "E-1")
    assert following([*holds, copied], BATCH, HERE, there) == []
    assert following(holds, BATCH, HERE, Spot("S", "A", Quality.REJECTED)) == []


# Expiry


# 3.3 #46
def test_a_batch_is_good_on_its_last_day_expired_after_it_and_never_without_one() -> None:
    today = dt.date(2026, 3, 2)
    assert not is_expired(today, today)
    assert is_expired(today - dt.timedelta(days=5), today)
    assert is_expired(today - dt.timedelta(days=1), today)
    assert not is_expired(None, today)


@pytest.mark.parametrize(
    ("zone", "last_day", "over_at"),
    [
        ("Asia/Shanghai", "2026-03-02", "2026-03-02T16:00+00:00"),
        ("Europe/Berlin", "2026-03-28", "2026-03-28T23:00+00:00"),  # the day before clocks go forward
        ("Europe/Berlin", "2026-03-29", "2026-03-29T22:00+00:00"),  # a day of 23 hours
        ("Europe/Berlin", "2026-10-25", "2026-10-25T23:00+00:00"),  # a day of 25 hours
        ("America/Havana", "2026-03-07", "2026-03-08T05:00+00:00"),  # midnight does not exist: 00:00 becomes 01:00
        ("Pacific/Kiritimati", "2026-03-02", "2026-03-02T10:00+00:00"),
        ("Pacific/Pago_Pago", "2026-03-02", "2026-03-03T11:00+00:00"),
        ("Asia/Kathmandu", "2026-03-02", "2026-03-02T18:15+00:00"),
        ("UTC", "2028-02-29", "2028-03-01T00:00+00:00"),
    ],
)
def test_a_batch_expires_at_the_midnight_of_its_site_also_where_clocks_change(
    zone: str, last_day: str, over_at: str
) -> None:
    place, day, over = ZoneInfo(zone), dt.date.fromisoformat(last_day), dt.datetime.fromisoformat(over_at)
    assert expires_at(day, place) == over
    assert not is_expired(day, local_day(over - dt.timedelta(microseconds=1), place))
    assert is_expired(day, local_day(over, place))


@given(
    st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/Havana", "America/New_York", "Australia/Lord_Howe"]),
    st.dates(dt.date(2024, 1, 1), dt.date(2030, 1, 1)),
    st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2030, 1, 1)),  # noqa: DTZ001
)
def test_expired_by_the_calendar_is_expired_by_the_clock(zone: str, last_day: dt.date, moment: dt.datetime) -> None:
    place, now = ZoneInfo(zone), moment.replace(tzinfo=dt.UTC)
    assert is_expired(last_day, local_day(now, place)) == (now >= expires_at(last_day, place))


def test_a_time_without_an_offset_is_on_no_day() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        local_day(dt.datetime(2026, 3, 2), ZoneInfo("UTC"))  # noqa: DTZ001


def test_the_watch_speaks_once_when_expiry_is_near_then_locks_and_after_a_long_pause_only_locks() -> None:
    last, near = dt.date(2026, 3, 10), dt.date(2026, 3, 5)

    def due(day: int, *, said: bool = False, near_on: dt.date | None = near) -> ShelfLife:
        return what_is_due(Watched(last, near_on, near_said=said), dt.date(2026, 3, day))

    assert [due(4), due(5), due(5, said=True), due(10, said=True)] == [
        ShelfLife.WAIT,
        ShelfLife.SAY_NEAR,
        ShelfLife.WAIT,
        ShelfLife.WAIT,
    ]
    assert due(10, near_on=None) is ShelfLife.WAIT
    assert due(11) is due(11, said=True) is due(30, near_on=None) is ShelfLife.LOCK


# The gate

ASKED = Asked("L1", D(5), "S", "A", Purpose.STAGING)
TODAY = dt.date(2026, 3, 2)


def at_the_gate(
    *, released: str = "5", others: dict[Quality, str] | None = None, holds: tuple[Hold, ...] = (), last: Any = TODAY
) -> RefusalCode | None:
    there = [(HERE, D(released))]
    there += [(Spot("S", "A", quality), D(quantity)) for quality, quantity in (others or {}).items()]
    there.append((Spot("S", "ELSEWHERE", Quality.RELEASED), D(1000)))
    refused = refusal(ASKED, there, holds, last, TODAY)
    return refused.code if refused else None


def held(kind: HoldKind) -> Hold:
    return Hold(uuid.uuid4(), "I", BATCH, kind, "why")


def test_the_gate_opens_for_released_goods_that_are_there_in_date_and_under_no_hold() -> None:
    assert at_the_gate() is None
    assert at_the_gate(last=None) is None
    assert at_the_gate(others={Quality.REJECTED: "9"}) is None
    assert at_the_gate(released="4.999999") is RefusalCode.NOT_THERE
    assert at_the_gate(last=TODAY - dt.timedelta(days=1)) is RefusalCode.EXPIRED
    assert at_the_gate(holds=(held(HoldKind.MANUAL),)) is RefusalCode.HELD
    assert at_the_gate(released="1", others={Quality.PENDING: "4"}) is RefusalCode.PENDING
    assert at_the_gate(released="1", others={Quality.PENDING: "4", Quality.REJECTED: "1"}) is RefusalCode.REJECTED


def test_nothing_leaves_from_a_quarantine_or_reject_zone_and_the_refusal_names_it() -> None:
    for purpose in Purpose:
        refused = refusal(replace(ASKED, purpose=purpose), [(HERE, D(5))], (), TODAY, TODAY)
        if purpose in {Purpose.QUARANTINE, Purpose.REJECTED}:
            assert refused is not None
            assert refused.code is RefusalCode.REJECTED
            assert f"'A' of site 'S', which is for {purpose} goods" in refused.reason
        else:
            assert refused is None
    empty = refusal(replace(ASKED, purpose=Purpose.REJECTED), [], (), TODAY, TODAY)
    assert empty is not None
    assert empty.code is RefusalCode.NOT_THERE


def test_a_batch_under_an_expiry_hold_and_a_recall_is_refused_for_the_recall() -> None:
    assert at_the_gate(holds=(held(HoldKind.EXPIRY),)) is RefusalCode.EXPIRED
    assert at_the_gate(holds=(held(HoldKind.EXPIRY), held(HoldKind.RECALL))) is RefusalCode.HELD


@given(
    st.decimals(0, 10, places=3),
    st.lists(st.builds(held, st.sampled_from([HoldKind.RECALL, HoldKind.EXPIRY, HoldKind.COUNT])), max_size=2),
    st.one_of(st.none(), st.dates(TODAY - dt.timedelta(days=3), TODAY + dt.timedelta(days=3))),
)
def test_nothing_leaves_that_the_matrix_does_not_let_ship(
    released: Decimal, holds: list[Hold], last: dt.date | None
) -> None:
    refused = refusal(ASKED, [(HERE, released)], holds, last, TODAY)
    status = statuses(Quality.RELEASED, (hold.kind for hold in holds), expired=is_expired(last, TODAY))
    may = allows(status, Operation.SHIP) is Allowed.YES
    assert (refused is None) == (may and released >= ASKED.quantity)


# Where goods may stand


def goods(
    quantity: str = "10", quality: Quality = Quality.RELEASED, climate: Climate | None = Climate.AMBIENT
) -> Goods:
    return Goods("MILK", BATCH, "L1", quality, D(quantity), climate)


def shelf(location_id: str = "A", purpose: Purpose = Purpose.STORAGE, **more: Any) -> Shelf:
    known: dict[str, Any] = {
        "climate": Climate.AMBIENT,
        "capacity": None,
        "single_item": False,
        "filled": D(0),
        "holds_same_batch": False,
        "other_batches": (),
        "other_items": (),
    }
    return Shelf(location_id, purpose, **{**known, **more})


@pytest.mark.parametrize(
    ("wants", "place", "code", "words"),
    [
        (goods(), shelf(other_batches=("L0",)), PlaceCode.OTHER_BATCH, "holds batch 'L0' of item 'MILK'"),
        (goods(), shelf(other_items=("TEA",), single_item=True), PlaceCode.OTHER_ITEM, "one item only and holds 'TEA'"),
        (goods("11"), shelf(capacity=D(100), filled=D(90)), PlaceCode.NO_ROOM, "90 of its capacity 100 are taken; 11"),
        (goods(climate=Climate.COLD), shelf(), PlaceCode.WRONG_CLIMATE, "ambient; item 'MILK' needs cold"),
        (
            goods(quality=Quality.REJECTED),
            shelf(),
            PlaceCode.WRONG_PURPOSE,
            "rejected goods go to quarantine, rejected",
        ),
        (goods(quality=Quality.PENDING), shelf(purpose=Purpose.STAGING), PlaceCode.WRONG_PURPOSE, "for staging"),
    ],
)
def test_a_location_refuses_goods_and_names_value_and_limit(
    wants: Goods, place: Shelf, code: PlaceCode, words: str
) -> None:
    against = objection(wants, place)
    assert against is not None
    assert against.code is code
    assert words in against.text


@pytest.mark.parametrize(
    ("wants", "place"),
    [
        (goods("10"), shelf(capacity=D(100), filled=D(90))),
        (goods(), shelf(other_items=("TEA",))),
        (goods(), shelf(purpose=Purpose.RECEIVING, other_batches=("L0",))),
        (goods(climate=None), shelf(climate=Climate.FROZEN)),
        (goods(climate=Climate.COLD), shelf(purpose=Purpose.STAGING)),
        (goods(quality=Quality.REJECTED), shelf(purpose=Purpose.REJECTED, other_batches=("L0",))),
    ],
)
def test_what_no_rule_forbids_is_allowed(wants: Goods, place: Shelf) -> None:
    assert objection(wants, place) is None


def test_goods_join_their_batch_else_take_the_smallest_empty_place_that_suffices() -> None:
    shelves = [
        shelf("BIG", capacity=D(500)),
        shelf("FIT", capacity=D(10)),
        shelf("SMALL", capacity=D(9)),
        shelf("ENDLESS"),
        shelf("SHARED", capacity=D(50), filled=D(1), other_items=("TEA",)),
    ]
    found = propose(goods(), shelves)
    assert found.location_id == "FIT"
    assert "smallest capacity that suffices: 10" in found.reason
    assert {each.location_id: each.code for each in found.passed_over} == {
        "SMALL": PlaceCode.NO_ROOM,
        "BIG": PlaceCode.NOT_PREFERRED,
        "ENDLESS": PlaceCode.NOT_PREFERRED,
        "SHARED": PlaceCode.NOT_PREFERRED,
    }
    joined = propose(goods(), [*shelves, shelf("HOME", capacity=D(100), filled=D(90), holds_same_batch=True)])
    assert joined.location_id == "HOME"
    full = propose(goods(), [*shelves, shelf("HOME", capacity=D(100), filled=D(91), holds_same_batch=True)])
    assert full.location_id == "FIT"


def test_goods_go_to_the_zone_of_their_quality() -> None:
    shelves = [shelf("S"), shelf("Q", Purpose.QUARANTINE), shelf("R", Purpose.REJECTED), shelf("D", Purpose.RECEIVING)]
    assert propose(goods(quality=Quality.PENDING), shelves).location_id == "Q"
    assert propose(goods(quality=Quality.RELEASED), shelves).location_id == "S"
    assert propose(goods(quality=Quality.REJECTED), shelves).location_id == "R"
    assert propose(goods(quality=Quality.PENDING), [shelves[0], shelves[3]]).location_id == "S"
    assert propose(goods(quality=Quality.REJECTED), [shelves[0], shelves[1]]).location_id == "Q"
    assert propose(goods(quality=Quality.REJECTED), [shelves[0]]).location_id is None


shelves_ = st.lists(
    st.builds(
        shelf,
        st.sampled_from([f"L{n}" for n in range(30)]),
        st.sampled_from([Purpose.STORAGE, Purpose.QUARANTINE, Purpose.RECEIVING, Purpose.REJECTED]),
        capacity=st.one_of(st.none(), st.decimals(1, 50, places=1)),
        filled=st.decimals(0, 50, places=1),
        single_item=st.booleans(),
        holds_same_batch=st.booleans(),
        other_batches=st.sampled_from([(), ("L0",)]),
        other_items=st.sampled_from([(), ("TEA",)]),
        climate=st.sampled_from([Climate.AMBIENT, Climate.COLD]),
    ),
    unique_by=lambda each: each.location_id,
    max_size=12,
)


@given(shelves_, known_qualities, st.randoms())
def test_a_proposal_breaks_no_rule_does_not_depend_on_the_order_and_explains_every_other_location(
    places: list[Shelf], quality: Quality, chance: Any
) -> None:
    wants = goods("5", quality)
    found = propose(wants, places)
    by_code = {place.location_id: place for place in places}
    if found.location_id is not None:
        assert objection(wants, by_code[found.location_id]) is None
        assert by_code[found.location_id].purpose in HOMES[quality]
    assert {each.location_id for each in found.passed_over} == by_code.keys() - {found.location_id}
    mixed = list(places)
    chance.shuffle(mixed)
    assert propose(wants, mixed).location_id == found.location_id


def test_a_location_follows_what_is_moved_in_and_out() -> None:
    other = uuid.UUID(int=2)
    place = Location("A", Purpose.STORAGE, Climate.AMBIENT, D(100), False, {other: ("MILK", "L0", D(4))})
    place.change(uuid.UUID(int=3), "TEA", "T1", D(6))
    found = place.as_found_by(goods())
    assert (found.filled, found.other_batches, found.other_items, found.room) == (D(10), ("L0",), ("TEA",), D(90))
    place.change(other, "MILK", "L0", D(-4))
    place.change(BATCH, "MILK", "L1", D(1))
    found = place.as_found_by(goods())
    assert (found.filled, found.other_batches, found.holds_same_batch) == (D(7), (), True)
