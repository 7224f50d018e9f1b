"""The parsers that outsiders reach with any text: GS1 scans and links, CSV lists, pasted lines.

Whatever comes: an answer or the documented error, in bounded time; and what was understood means the same when it is
written and read again. `make hostile` looks much longer than `make check`.
"""

import csv
import io
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.gs1 import (
    Gs1Error,
    Gs1Message,
    ScannerProfile,
    bracketed,
    digital_link,
    element_string,
    normalise,
    parse,
    parse_bracketed,
)
from contracts.gs1.scan import LONGEST_SCAN
from contracts.integration import ItemDefined, PartnerDefined
from services.integration.domain.imports import (
    ITEM_COLUMNS,
    MOST_ROWS,
    PARTNER_COLUMNS,
    NotAList,
    RowRefused,
    read_items,
    read_partners,
)
from services.receiving.domain.pasting import pasted_lines
from tests.contracts.gs1.valid_messages import messages
from tests.hostile.conftest import FULL

looking = settings(
    max_examples=5_000 if FULL else 150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

SECONDS = 0.25
"""For one text of the greatest length; a hundred times what it takes."""

Read = TypeVar("Read")
Refused = TypeVar("Refused", bound=Exception)

_PIECES = st.sampled_from(
    ["\x1d", "]C1", "]d2", "]Q3", "]E0", "]e0", "|]e0", "01", "10", "17", "21", "37", "3103", "8112", "8008", "(", ")",
     "09521234567899", "https://id.gs1.org", "/01/", "/10/", "?17=", "&", "%", "%00", "%1D", "#", "\x00", "\ud800",
     "０", "批", "\u202e", "9" * 90, "\\", " ", "\n"]
)  # fmt: skip


def texts() -> st.SearchStrategy[str]:
    """Any text, pieces of real ones in any order, and real ones with some characters changed."""
    return st.one_of(
        st.text(max_size=300),
        st.text(alphabet="0123456789()[]/?&%=\x1dABC", max_size=300),
        st.lists(
            st.one_of(_PIECES, st.text(max_size=5), st.from_regex(r"[0-9]{2,14}", fullmatch=True)), max_size=30
        ).map("".join),
        st.builds(_bent, messages().flatmap(_written), st.lists(st.tuples(st.integers(0, 400), _PIECES), max_size=4)),
    )


def _written(message: Gs1Message) -> st.SearchStrategy[str]:
    link = _or(Gs1Error, lambda: digital_link(message))
    ways = [element_string(message), bracketed(message), "]d2" + element_string(message)]
    return st.sampled_from([*ways, link] if isinstance(link, str) else ways)


def _bent(text: str, changes: list[tuple[int, str]]) -> str:
    for place, piece in changes:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at + (place % 3) :]
    return text


def _or(refusal: type[Refused], read: Callable[[], Read]) -> Read | Refused:
    """What was read, or the one error that is documented, which says something; in time."""
    try:
        return _within(read)
    except refusal as error:
        assert str(error), "it does not say why"  # noqa: PT017 - the error is the answer
        return error


def _within(read: Callable[[], Read]) -> Read:
    began = time.thread_time()
    found = read()
    assert time.thread_time() - began < SECONDS
    return found


@looking
@given(texts(), st.booleans())
def test_any_scan_is_read_or_refused_and_means_the_same_when_written_and_read_again(text: str, all_of_it: bool) -> None:
    message = _or(Gs1Error, lambda: parse(text, associations=all_of_it))
    if isinstance(message, Gs1Error):
        assert 0 <= message.position <= len(text)
        return
    assert parse(element_string(message), associations=all_of_it) == message
    assert parse_bracketed(bracketed(message), associations=all_of_it) == message
    link = _or(Gs1Error, lambda: digital_link(message))
    if isinstance(link, str):
        assert sorted(_pairs(parse(link, associations=all_of_it))) == sorted(_pairs(message))


def _pairs(message: Gs1Message) -> Iterator[tuple[str, str]]:
    yield from ((element.ai, element.value) for element in message.elements)


@looking
@given(texts())
def test_anything_typed_is_read_or_refused(text: str) -> None:
    message = _or(Gs1Error, lambda: parse_bracketed(text, associations=False))
    if isinstance(message, Gs1Message):
        assert parse_bracketed(bracketed(message), associations=False) == message


@looking
@given(texts(), st.sampled_from([(), ("<GS>",), ("~", "{GS}"), ("\n",)]), st.sampled_from(["", "\r", "\r\n"]))
def test_any_scan_can_be_repaired_first(text: str, separators: tuple[str, ...], suffix: str) -> None:
    repaired = _within(lambda: normalise(text, ScannerProfile(separators=separators, suffix=suffix)))
    _or(Gs1Error, lambda: parse(repaired, associations=False))


@pytest.mark.parametrize(
    "text",
    [
        "(" * LONGEST_SCAN,
        "(10)" * (LONGEST_SCAN // 4),
        "10" + "\x1d" * (LONGEST_SCAN - 2),
        "10A\x1d" * (LONGEST_SCAN // 4),
        "https://id.gs1.org" + "/01" * ((LONGEST_SCAN - 18) // 3),
        "https://id.gs1.org/01/09521234567899?" + "17=270331&" * ((LONGEST_SCAN - 37) // 10),
        "https://id.gs1.org/01/" + "%30" * ((LONGEST_SCAN - 22) // 3),
        "8112" + "1" * (LONGEST_SCAN - 4),
        "01095212345678993103" * (LONGEST_SCAN // 20),
        "9" * (LONGEST_SCAN * 100),
    ],
)
def test_the_longest_texts_take_no_longer(text: str) -> None:
    for read in (parse, parse_bracketed):
        with pytest.raises(Gs1Error):
            _within(lambda read=read: read(text))
    _within(lambda: normalise(text, ScannerProfile()))


# CSV lists

_RIGHT = {
    "item_id": ["WMP-25", "A", "!~"],
    "partner_id": ["C-2041", "S-0117"],
    "name": ["Milk powder", "奶粉", "x" * 400],
    "base_unit": ["KGM", "C62"],
    "units": ["BX=25", "TU=1/3 BX=12", ""],
    "gtins": ["06901234567892:BX", "06901234567892", ""],
    "shelf_life_days": ["546", "1", ""],
    "expiry_required": ["yes", "0", ""],
    "min_days_at_receipt": ["30", ""],
    "min_percent_at_receipt": ["66", ""],
    "near_expiry_days": ["90", ""],
    "climate": ["ambient", "frozen", ""],
    "inspection_required": ["no", "TRUE"],
    "batch_no_unique_within": ["item", "item_and_supplier", ""],
    "active": ["1", "false"],
    "roles": ["customer", "supplier customer"],
    "gln": ["6901234000009", ""],
    "shelf_life_rules": ["*:180:33", "WMP-25:270: *::5", ""],
}
_WRONG = ["BX=1/0", "-1", "9" * 400, "1e5", "=1+1", '"', "\x00", "\ud800", "批次", " ", "unknown", "a,b", "x\ny"]


def _cells(column: str) -> st.SearchStrategy[str]:
    right = st.sampled_from(_RIGHT[column])
    return st.integers(0, 29).flatmap(
        lambda luck: right if luck > 1 else st.sampled_from(_WRONG) if luck else st.text(max_size=30)
    )


def lists(columns: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Any text, and lists with some of the columns and any cells."""

    @st.composite
    def structured(draw: st.DrawFn) -> str:
        header = [*columns[:3], *draw(st.lists(st.sampled_from(columns[3:]), max_size=len(columns) - 3, unique=True))]
        header = draw(st.sampled_from([header, header, header[::-1], header[1:], [*header, header[0]]]))
        whole = st.tuples(*(_cells(column) for column in header)).map(list)
        rows = draw(st.lists(st.one_of(whole, whole, whole, st.lists(_cells(header[0]), max_size=20)), max_size=6))
        written = io.StringIO()
        writer = csv.writer(written, delimiter=draw(st.sampled_from(",;\t")), quoting=csv.QUOTE_ALL)
        writer.writerow(header)
        writer.writerows(rows)
        return draw(st.sampled_from(["", "\ufeff"])) + written.getvalue()

    return st.one_of(st.text(max_size=400), st.text(alphabet=',;\t\r\n"aA1=:', max_size=200), structured())


@looking
@given(lists(tuple(ITEM_COLUMNS)))
def test_any_item_list_is_understood_or_refused_row_by_row_and_means_the_same_again(text: str) -> None:
    rows = _or(NotAList, lambda: [*read_items(text)])
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row.means, RowRefused):
            assert row.means.limit
        else:
            [again] = read_items(_item_as_csv(row.means))
            assert again.means == row.means


@looking
@given(lists(tuple(PARTNER_COLUMNS)))
def test_any_partner_list_is_understood_or_refused_row_by_row_and_means_the_same_again(text: str) -> None:
    rows = _or(NotAList, lambda: [*read_partners(text)])
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row.means, RowRefused):
            assert row.means.limit
        else:
            [again] = read_partners(_partner_as_csv(row.means))
            assert again.means == row.means


def _item_as_csv(item: ItemDefined) -> str:
    cells = {name: getattr(item, name) for name in ITEM_COLUMNS}
    cells["units"] = " ".join(f"{each.unit}={each.numerator}/{each.denominator}" for each in item.units)
    cells["gtins"] = " ".join(f"{each.gtin}:{each.unit}" for each in item.gtins)
    return _as_csv(cells)


def _partner_as_csv(partner: PartnerDefined) -> str:
    cells = {name: getattr(partner, name) for name in PARTNER_COLUMNS}
    cells["roles"] = " ".join(partner.roles)
    cells["shelf_life_rules"] = " ".join(
        f"{rule.item_id or '*'}:{'' if rule.min_days is None else rule.min_days}:"
        f"{'' if rule.min_percent is None else rule.min_percent}"
        for rule in partner.shelf_life_rules
    )
    return _as_csv(cells)


def _as_csv(cells: dict[str, object]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([cells.keys(), ["" if value is None else value for value in cells.values()]])
    return written.getvalue()


@pytest.mark.parametrize("read", [read_items, read_partners])
def test_the_largest_lists_end(read: Callable[[str], Iterator[object]]) -> None:
    for text in (
        "item_id,name\n" * (MOST_ROWS + 10),
        "partner_id," + "\n" * 2_000_000,
        '"' * 2_000_000,
        "item_id" + ",item_id" * 200_000,
        "partner_id\n" + "x" * 2_000_000,
        "item_id,name,base_unit,units\nA,b,KGM," + "BX=1/3 " * 200_000,
    ):
        began = time.thread_time()
        try:
            seen = sum(1 for _ in read(text))
        except NotAList as refused:
            seen = len(str(refused))
        assert seen <= 5_000
        assert time.thread_time() - began < 5


@looking
@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(
            st.tuples(st.sampled_from([*_WRONG, "WMP2602A", "B1"]), st.sampled_from([*_WRONG, "2", "4.5", "0"]))
        ).map(lambda rows: "\n".join(";".join(row) for row in rows)),
    )
)
def test_any_pasted_lines_are_understood_or_refused_line_by_line(text: str) -> None:
    for line in _within(lambda: pasted_lines(text)):
        assert (line.quantity is None) == (line.problem is not None)
        assert line.quantity is None or 0 < line.quantity < 10**15
