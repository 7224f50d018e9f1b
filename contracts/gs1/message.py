"""What a scan says, and the questions a warehouse asks of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal

from contracts.gs1.dates import Gs1Date, resolve


@dataclass(frozen=True, slots=True)
class Element:
    """One application identifier and its value. `position` is where the value starts in the scan (0-based character).

    Two elements are equal when they say the same, wherever they stood.
    """

    ai: str
    value: str
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"({self.ai}){self.value}"


@dataclass(frozen=True, slots=True)
class Gs1Message:
    """The elements of one scan, in the order they stood in it; every one of them keeps the rules of GS1.

    `symbology` is the identifier of the carrier ("]d2"), None if the scanner did not send one. `normalised` says that
    the scan had to be repaired before it could be read. Messages are equal when their elements are.
    """

    elements: tuple[Element, ...]
    symbology: str | None = field(default=None, compare=False)
    normalised: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return "".join(map(str, self.elements))

    def element(self, *ais: str) -> Element | None:
        """The first element of any of `ais`, None if there is none."""
        for element in self.elements:
            if element.ai in ais:
                return element
        return None

    def value(self, ai: str) -> str | None:
        """The value of `ai`, None if it is not there."""
        found = self.element(ai)
        return None if found is None else found.value

    @property
    def gtin(self) -> str | None:
        """AI 01: the trade item itself, 14 digits."""
        return self.value("01")

    @property
    def contained_gtin(self) -> str | None:
        """AI 02: the trade item that the logistic unit contains, 14 digits; `count` says how many."""
        return self.value("02")

    @property
    def sscc(self) -> str | None:
        """AI 00: the logistic unit, 18 digits."""
        return self.value("00")

    @property
    def batch_no(self) -> str | None:
        """AI 10, upper and lower case kept."""
        return self.value("10")

    @property
    def serial(self) -> str | None:
        """AI 21, upper and lower case kept."""
        return self.value("21")

    @property
    def count(self) -> int | None:
        """How many: AI 37 trade items in the logistic unit, or AI 30 pieces in a variable trade item."""
        found = self.element("37", "30")
        return None if found is None else int(found.value)

    @property
    def net_weight_kg(self) -> Decimal | None:
        """AI 310n in kilograms, with as many decimals as the label has."""
        for element in self.elements:
            if element.ai.startswith("310"):
                return Decimal(element.value).scaleb(-int(element.ai[3]))
        return None

    def expires(self, scanned_on: date) -> Gs1Date | None:
        """AI 17 or 7003: not to be used after. Where a label has both, the earlier."""
        return self._earliest(scanned_on, "17", "7003")

    def best_before(self, scanned_on: date) -> Gs1Date | None:
        """AI 15: quality is promised until then."""
        return self._earliest(scanned_on, "15")

    def sell_by(self, scanned_on: date) -> Gs1Date | None:
        """AI 16."""
        return self._earliest(scanned_on, "16")

    def manufactured(self, scanned_on: date) -> Gs1Date | None:
        """AI 11 or 8008. Where a label has both, the earlier; on the same day, the one with the time."""
        return self._earliest(scanned_on, "11", "8008")

    def packed(self, scanned_on: date) -> Gs1Date | None:
        """AI 13."""
        return self._earliest(scanned_on, "13")

    def _earliest(self, scanned_on: date, *ais: str) -> Gs1Date | None:
        found = [
            resolve(element.value, scanned_on=scanned_on, ai=element.ai, position=element.position)
            for element in self.elements
            if element.ai in ais
        ]
        # A day lasts until its end, so a time on the same day is earlier.
        return min(found, key=lambda moment: (moment.day, moment.at or time.max), default=None)

    @property
    def swallowed(self) -> str | None:
        """The part of the batch number or serial that looks like a date element whose separator was lost.

        None if nothing does. `10ABC123` and `17270331` without a separator between them read as batch
        `ABC12317270331`, and GS1 allows that. Only somebody who knows which batch to expect can tell; this says when
        to ask.
        """
        for element in self.elements:
            if element.ai in ("10", "21") and (lost := _lost_date(element.value)) is not None:
                return lost[0]
        return None


_lost_date = re.compile(r"(?<=.)1[13567]\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?=$|10|21|30)").search
