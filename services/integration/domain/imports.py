"""CSV lists of items and partners, row by row: every row is understood or refused by itself.

The first line names the columns; their order does not matter and those left out keep their default. UTF-8, with or
without a byte order mark; comma, semicolon or tab, as in the first line. Lists inside a cell are parted by blanks:

    units             BX=12 PAL=480 TU=1/3      one BX is 12 base units, one TU a third
    gtins             06901234567892:BX          the GTIN of one BX; without `:` of one base unit
    roles             supplier customer
    shelf_life_rules  *:180:33 WMP-25:270:       item or *, days left, percent of life left; either may be empty
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from contracts.integration import ItemDefined, PartnerDefined

MOST_ROWS = 3_000
"""Rows of one import."""

Definition = TypeVar("Definition", ItemDefined, PartnerDefined)


class NotAList(ValueError):
    """The whole text cannot be read as a list; says which line or column, and what is allowed."""


@dataclass(frozen=True, slots=True)
class RowRefused:
    """Why a row is not taken: the column, what stood there, and what is allowed."""

    column: str
    value: str
    limit: str


@dataclass(frozen=True, slots=True)
class Row(Generic[Definition]):
    """A row of the list: the line where it begins (the first is 1), its id as it stood there, and what it means."""

    line: int
    name: str
    means: Definition | RowRefused


_control_character = re.compile(r"[\x00-\x1f\x7f]").search


class _CellRefused(Exception):
    def __init__(self, value: str, limit: str) -> None:
        super().__init__(limit)
        self.value = value
        self.limit = limit


def _text(cell: str) -> object:
    return cell


def _yes_or_no(cell: str) -> object:
    found = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(cell.lower())
    if found is None:
        raise _CellRefused(cell, "yes or no (also true, false, 1, 0)")
    return found


def _whole(cell: str) -> object:
    if not (cell.isascii() and cell.isdigit() and len(cell) <= 9):
        raise _CellRefused(cell, "a whole number")
    return int(cell)


def _units(cell: str) -> object:
    units = []
    for word in cell.split():
        unit, equals, factor = word.partition("=")
        numerator, slash, denominator = factor.partition("/")
        numbers = (numerator, denominator if slash else "1")
        if not equals or not all(each.isascii() and each.isdigit() and len(each) <= 16 for each in numbers):
            raise _CellRefused(word, "unit=factor, such as BX=12 or TU=1/3")
        units.append({"unit": unit, "numerator": int(numbers[0]), "denominator": int(numbers[1])})
    return units


def _gtins(cell: str) -> object:
    aliases = []
    for word in cell.split():
        gtin, _, unit = word.partition(":")
        aliases.append({"gtin": gtin, "unit": unit})
    return aliases


def _rules(cell: str) -> object:
    rules = []
    for word in cell.split():
        item_id, *limits = word.split(":")
        if len(limits) != 2:
            raise _CellRefused(word, "item:days:percent, such as *:180:33")
        days, percent = (_whole(limit) if limit else None for limit in limits)
        rules.append({"item_id": None if item_id == "*" else item_id, "min_days": days, "min_percent": percent})
    return rules


def _words(cell: str) -> object:
    return cell.split()


ITEM_COLUMNS: Mapping[str, Callable[[str], object]] = {
    "item_id": _text,
    "name": _text,
    "base_unit": _text,
    "units": _units,
    "gtins": _gtins,
    "shelf_life_days": _whole,
    "expiry_required": _yes_or_no,
    "min_days_at_receipt": _whole,
    "min_percent_at_receipt": _whole,
    "near_expiry_days": _whole,
    "climate": _text,
    "inspection_required": _yes_or_no,
    "batch_no_unique_within": _text,
    "active": _yes_or_no,
}
"""What an item list may hold, and how each cell is read."""

PARTNER_COLUMNS: Mapping[str, Callable[[str], object]] = {
    "partner_id": _text,
    "name": _text,
    "roles": _words,
    "gln": _text,
    "shelf_life_rules": _rules,
    "active": _yes_or_no,
}
"""What a partner list may hold."""


def read_items(text: str) -> Iterator[Row[ItemDefined]]:
    """The rows of an item list. Raises `NotAList` and nothing else."""
    return _read(text, ITEM_COLUMNS, "item_id", ItemDefined)


def read_partners(text: str) -> Iterator[Row[PartnerDefined]]:
    """The rows of a partner list. Raises `NotAList` and nothing else."""
    return _read(text, PARTNER_COLUMNS, "partner_id", PartnerDefined)


def _read(
    text: str, columns: Mapping[str, Callable[[str], object]], id_column: str, kind: type[Definition]
) -> Iterator[Row[Definition]]:
    text = text.removeprefix("\ufeff")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, columns, id_column)
        seen: dict[str, int] = {}
        line = reader.line_num + 1
        for number, cells in enumerate(reader, start=1):
            if number > MOST_ROWS:
                raise NotAList(f"line {line}: more than {MOST_ROWS} rows: send the list in parts")
            if any(cell.strip() for cell in cells):
                row = _understand(line, header, [cell.strip() for cell in cells], columns, id_column, kind)
                if row.name and row.name in seen and not isinstance(row.means, RowRefused):
                    refused = RowRefused(id_column, row.name, f"once in a list; line {seen[row.name]} has it too")
                    row = Row(line, row.name, refused)
                seen.setdefault(row.name, line)
                yield row
            line = reader.line_num + 1
    except csv.Error as error:
        raise NotAList(f"line {reader.line_num}: {error}") from None


def _check_header(header: list[str], columns: Mapping[str, object], id_column: str) -> None:
    if not any(header):
        raise NotAList(f"line 1 is empty: it names the columns, of {', '.join(columns)}")
    for name in header:
        if name not in columns:
            raise NotAList(f"line 1: column {name!r} is not known: known are {', '.join(columns)}")
        if header.count(name) > 1:
            raise NotAList(f"line 1: column {name!r} stands twice")
    if id_column not in header:
        raise NotAList(f"line 1: column {id_column!r} is missing")


def _understand(
    line: int,
    header: list[str],
    cells: list[str],
    columns: Mapping[str, Callable[[str], object]],
    id_column: str,
    kind: type[Definition],
) -> Row[Definition]:
    by_column = dict(zip(header, cells, strict=False))
    name = by_column.get(id_column, "")
    if len(cells) != len(header):
        limit = f"{len(header)} cells, as in the first line"
        return Row(line, name, RowRefused("", f"{len(cells)} cells", limit))
    values: dict[str, object] = {"revision": 1}
    for column, cell in by_column.items():
        if not cell:
            continue
        if _control_character(cell):
            return Row(line, name, RowRefused(column, repr(cell), "no control characters"))
        try:
            values[column] = columns[column](cell)
        except _CellRefused as refused:
            return Row(line, name, RowRefused(column, refused.value, refused.limit))
    if "gtins" in values and isinstance(values["gtins"], list):
        for alias in values["gtins"]:
            alias["unit"] = alias["unit"] or values.get("base_unit", "")
    try:
        # From JSON, a closed list reads any unknown word as `unknown`; a list that a person sends is closed.
        means = kind.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        column = str(found["loc"][0]) if found["loc"] else ""
        limit = "must be there" if found["type"] == "missing" else found["msg"].removeprefix("Value error, ")
        return Row(line, name, RowRefused(column, by_column.get(column, ""), limit))
    for column, value in means:
        listed = value if isinstance(value, tuple) else (value,)
        if any(str(each) == "unknown" for each in listed) and column in {"climate", "batch_no_unique_within", "roles"}:
            allowed = [
                str(each) for each in type(next(each for each in listed if str(each) == "unknown")) if each != "unknown"
            ]
            return Row(line, name, RowRefused(column, by_column[column], f"one of {', '.join(allowed)}"))
    return Row(line, name, means)
