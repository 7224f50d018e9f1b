"""The demo's own parts, without services: its input, its voice, and how it says that something went wrong."""

import datetime as dt
import io
from collections import defaultdict
from contextlib import AbstractAsyncContextManager, nullcontext
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from rich.tree import Tree

from contracts.gs1 import parse
from deploy.local import play
from deploy.local.issuer import Issuer
from deploy.local.play import story
from deploy.local.play.faults import StepFailed
from deploy.local.play.input import label, read_input
from deploy.local.play.scene import Scene
from deploy.local.play.telling import COLUMNS, Telling, number
from deploy.local.play.world import World
from deploy.local.processes import System

TODAY = dt.date(2026, 3, 2)


def a_system(folder: Path) -> System:
    """Names and logs of services that nobody started."""
    issuer = Issuer(folder / "issuer")
    names = ("receiving", "inventory")
    return cast(
        System,
        SimpleNamespace(
            urls=dict.fromkeys(names, "http://127.0.0.1:1"),
            services=dict.fromkeys(names),
            logs={name: folder / "logs" / f"{name}.log" for name in names},
            token=lambda user: issuer.mint(user, ["admin"]),
            servers=SimpleNamespace(kafka="127.0.0.1:1", topic_prefix=""),
        ),
    )


def heard() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out), out


# the input


def test_every_package_has_a_label_that_a_strict_reader_accepts() -> None:
    for item in read_input(TODAY).items.values():
        message = parse(label(item, "B-1", made_on=TODAY, expires_on=TODAY + dt.timedelta(days=365)))
        assert (message.gtin, message.batch_no) == (item.gtin, "B-1")


def test_a_gtin_is_the_package_code_with_its_check_digit() -> None:
    # NDC 15725-204-02 as GTIN-12 is 3 15725 20402 3: the check digit was worked out by hand.
    assert read_input(TODAY).items["FG-15725-204"].gtin == "00315725204023"


def test_units_are_exact_where_a_decimal_fraction_is_not_whole() -> None:
    filler = read_input(TODAY).items["RM-10106-3248"]
    assert filler.in_base_units(Decimal(5), "XDR") == Decimal("226.8")


def test_production_uses_up_no_more_of_a_batch_than_there_is() -> None:
    given = read_input(TODAY)
    there: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for bought in given.purchases:
        there[bought.key] += bought.item.in_base_units(bought.quantity, bought.unit)
    for made in given.produced:
        there[made.key] += made.quantity
    for made in given.produced:
        for part in made.consumed:
            there[part.item.item_id, part.batch_no] -= part.quantity
    assert {batch: left for batch, left in there.items() if left < 0} == {}


def test_the_story_is_big_enough_to_mean_something() -> None:
    given = read_input(TODAY)
    customers = [partner for partner in given.partners.values() if partner.role == "customer"]
    assert len(given.items) >= 12
    assert len({one.key for one in given.purchases} | {one.key for one in given.produced}) >= 30
    assert len(given.wanted) >= 25
    assert len([customer for customer in customers if customer.rules]) >= 5


def test_a_line_with_a_column_too_few_is_named(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,ndc\nRM-1\n")
    with pytest.raises(ValueError, match=r"items\.csv line 2: has not as many columns"):
        read_input(TODAY, tmp_path)


# the voice


def test_what_is_told_is_plain_in_a_log_and_a_hundred_columns_wide_at_most() -> None:
    console, out = heard()
    tell = Telling(console)
    tell.title("Title", "below")
    tell.step(1, "A step")
    tell.say("a sentence that goes on and on " * 9)
    tell.refused("no " * 60)
    tell.table(("batch", "why"), [("A", "because of this and that " * 9)])
    branch = Tree("root")
    branch.add("leaf")
    tell.tree(branch)
    tell.check(False, "a check", "numbers " * 20)
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert max(map(len, lines)) <= COLUMNS
    assert [line for line in lines if line != line.rstrip()] == []
    assert "\n\n\n" not in out.getvalue()


@pytest.mark.parametrize(
    ("value", "told"),
    [("4800", "4,800"), ("68.040000", "68.04"), ("0", "0"), ("1E+2", "100"), ("-1234.50", "-1,234.5")],
)
def test_numbers_are_told_as_people_write_them(value: str, told: str) -> None:
    assert number(value) == told


# how it ends badly


async def test_waiting_in_vain_names_what_was_awaited_and_what_is_so_instead(tmp_path: Path) -> None:
    async with World(a_system(tmp_path)) as world:
        world.step = "5. Demands"

        async def never() -> None:
            return None

        async def now() -> str:
            return "short"

        with pytest.raises(StepFailed) as failed:
            await world.until("demand 7 is served", never, service="allocation", seconds=0.1, now=now)
    assert failed.value.step == "5. Demands"
    assert failed.value.service == "allocation"
    assert failed.value.why == "waited 0.1 s in vain until demand 7 is served; now: short"


async def test_a_step_that_fails_is_told_with_its_reason_and_its_log_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(scene: Scene) -> None:
        raise scene.world.failed("the dock is flooded", "receiving")

    def nobody(*_: Any) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    monkeypatch.setattr(story, "PARTS", (("Goods arrive", fail),))
    monkeypatch.setattr(play, "Mes", nobody)
    monkeypatch.setattr(play, "Erp", nobody)
    console, out = heard()
    assert await play.main(a_system(tmp_path), console) == 1
    told = " ".join(out.getvalue().replace("\n", "").split())
    assert "✗ 0. Goods arrive the dock is flooded" in told
    assert "receiving.log" in told
    assert "inventory.log" not in told
