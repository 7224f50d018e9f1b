"""Sites as inventory tells of them: where goods may arrive, and when a day ends there."""

import datetime as dt

from contracts.inventory import SiteDefined
from tests.receiving.goods import line, receive
from tests.service_harness import Running


def site(
    site_id: str, revision: int = 1, *docks: str, zone: str = "UTC", set_up: bool = True, of: int = 1
) -> SiteDefined:
    return SiteDefined(
        site_id=site_id,
        revision=revision,
        name=site_id,
        time_zone=zone,
        set_up=set_up,
        docks=docks,
        sites=of,
        defined_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )


async def test_while_inventory_tells_of_no_sites_goods_arrive_anywhere(at: Running) -> None:
    assert (await receive(at, line(), site_id="NEW-9", location_id="GATE"))["status"] == 201


async def test_an_unknown_site_is_refused_once_every_site_was_heard_and_not_before(at: Running) -> None:
    await at.hear(site("HRB-1", of=2))
    assert (await receive(at, line(batch_no="L1"), site_id="SHA-1"))["status"] == 201
    await at.hear(site("SHA-1", of=2))
    assert (await receive(at, line(batch_no="L2"), site_id="SHA-1"))["status"] == 201
    answer = await receive(at, line(batch_no="L3"), site_id="HRB-l")
    assert (answer["status"], answer["code"]) == (409, "unknown_site")
    assert "PUT /sites/HRB-l" in answer["detail"]
    assert [each["field"] for each in answer["fields"]] == ["site_id"]


async def test_goods_arrive_at_a_dock_of_the_site_or_are_refused_with_its_docks(at: Running) -> None:
    await at.hear(site("HRB-1"))
    assert (await receive(at, line(batch_no="L1"), location_id="A-01-01"))["status"] == 201
    await at.hear(site("HRB-1", 2, "DOCK-1", "DOCK-2"))
    assert (await receive(at, line(batch_no="L2"), location_id="DOCK-2"))["status"] == 201
    answer = await receive(at, line(batch_no="L3"), location_id="A-01-01")
    assert (answer["status"], answer["code"]) == (409, "not_a_dock")
    assert answer["detail"].endswith("its docks are DOCK-1, DOCK-2")
    assert [each["field"] for each in answer["fields"]] == ["location_id"]


async def test_an_older_word_of_a_site_changes_nothing(at: Running) -> None:
    await at.hear(site("HRB-1", 3, "DOCK-2"), site("HRB-1", 2, "DOCK-1"))
    await at.hear(site("HRB-1", 1, "DOCK-1"))
    assert (await receive(at, line(batch_no="L1"), location_id="DOCK-2"))["status"] == 201


async def test_a_day_ends_at_the_midnight_of_the_sites_time_zone(at: Running) -> None:
    # 23:30 UTC is the next morning in Harbin, where what expired that evening is over.
    at.clock.at = dt.datetime(2026, 3, 2, 23, 30, tzinfo=dt.UTC)
    short = {"accept_short_life": {"reason": "for today's bread"}, "manufactured_on": "2026-01-10"}
    goods = line(batch_no="L1", expires_on="2026-03-02", **short)
    await at.hear(site("HRB-1", zone="Asia/Shanghai", set_up=False))  # a guess of nobody
    assert (await receive(at, goods, role="supervisor"))["status"] == 201
    await at.hear(site("HRB-1", 2, zone="Asia/Shanghai"))
    answer = await receive(at, line(batch_no="L2", expires_on="2026-03-02", **short), role="supervisor")
    assert [reason["text"] for reason in answer["lines"][0]["reasons"]] == [
        "expired on 2026-03-02: today is 2026-03-03"
    ]


async def test_a_time_zone_that_this_machine_does_not_know_is_as_good_as_none(at: Running) -> None:
    await at.hear(site("HRB-1", zone="Mars/Olympus"))
    assert (await receive(at, line()))["status"] == 201
