"""Batch numbers that we make: a pattern, a counter, and room for at most 20 characters of the GS1 AI-10 set."""

import base64
import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from string import Formatter

from contracts.gs1 import LONGEST_BATCH_NO, batch_no_problem, is_batch_no

_DATE = re.compile(r"(?:%[YymdjGVu]|[0-9A-Za-z._/-])+")
_SEQUENCE = re.compile(r"(?:0[1-9])?d?")
_SEPARATORS = "-._/"
_LONGEST_CODE = "W" * 40


class PatternRefused(ValueError):
    """A pattern cannot make batch numbers; the text says which part and what is allowed."""


class SeriesExhausted(ValueError):
    """A pattern has no number left that fits into 20 characters."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some text, then a field (or none at the end of the pattern)."""

    text: str
    field: str | None
    form: str


@dataclass(frozen=True, slots=True)
class NumberPattern:
    """How batch numbers are made: text, `{date:%Y%m%d}`, `{seq:03}` (needed once) and `{supplier}`.

    A supplier's code that does not fit is shortened: its beginning and two letters that stand for all of it. Two
    suppliers may still shorten to the same; whoever hands out numbers therefore passes over those that exist.
    """

    written: str
    parts: tuple[_Part, ...]

    @classmethod
    def read(cls, written: str) -> "NumberPattern":
        """The pattern in `written`. Raises `PatternRefused`."""
        try:
            found = [
                _Part(text, field, f"{form or ''}!{conversion}" if conversion else form or "")
                for text, field, form, conversion in Formatter().parse(written)
            ]
        except ValueError as error:
            raise PatternRefused(f"batch number pattern {written!r}: {error}") from None
        for part in found:
            _check_part(written, part)
        fields = [part.field for part in found if part.field is not None]
        if fields.count("seq") != 1 or any(fields.count(name) > 1 for name in fields):
            raise PatternRefused(
                f"batch number pattern {written!r} has the fields {fields}: {{seq}} once is needed, "
                "{date:…} and {supplier} may be there once"
            )
        pattern = cls(written, tuple(found))
        for supplier_id in (None, "S", _LONGEST_CODE):
            try:
                number = pattern.number(dt.date(2026, 12, 31), 1, supplier_id)
            except SeriesExhausted as error:
                raise PatternRefused(f"batch number pattern {written!r}: {error}") from None
            if (problem := batch_no_problem(number)) is not None:
                raise PatternRefused(f"batch number pattern {written!r}: {problem}")
        return pattern

    def series(self, on: dt.date, supplier_id: str | None) -> str:
        """What shares one counter: everything in the number but the sequence."""
        return self._write(on, "{seq}", _legal(supplier_id or "") or None)

    def number(self, on: dt.date, sequence: int, supplier_id: str | None) -> str:
        """The `sequence`th number of its series: 1 to 20 characters, the same for the same arguments.

        Raises `SeriesExhausted` when the sequence has grown too long for the rest of the pattern.
        """
        form = next(part.form for part in self.parts if part.field == "seq")
        counted = format(sequence, form)
        whole = self._write(on, counted, _legal(supplier_id or "") or None)
        if len(whole) > LONGEST_BATCH_NO and supplier_id and any(part.field == "supplier" for part in self.parts):
            room = LONGEST_BATCH_NO - (len(self._write(on, counted, "W")) - 1)
            if room >= 1:
                whole = self._write(on, counted, shortened(supplier_id, room))
        if len(whole) > LONGEST_BATCH_NO:
            raise SeriesExhausted(
                f"number {sequence} of {self.written!r} would be {whole!r} with {len(whole)} characters: "
                f"{LONGEST_BATCH_NO} are allowed"
            )
        return whole

    def _write(self, on: dt.date, counted: str, supplier: str | None) -> str:
        written = ""
        for part in self.parts:
            # What separates a supplier that is not there has nothing to separate.
            written += part.text if written or supplier is not None else part.text.lstrip(_SEPARATORS)
            match part.field:
                case "date":
                    written += on.strftime(part.form)
                case "seq":
                    written += counted
                case "supplier":
                    written = written.rstrip(_SEPARATORS) if supplier is None else written + supplier
        return written


def _check_part(written: str, part: _Part) -> None:
    if part.text and any(not is_batch_no(character) for character in part.text):
        problem = batch_no_problem(part.text[:LONGEST_BATCH_NO]) or batch_no_problem(part.text)
        raise PatternRefused(f"batch number pattern {written!r}: {problem}")
    allowed = {
        "date": (_DATE, "{date:…} of %Y %y %m %d %j %G %V %u"),
        "seq": (_SEQUENCE, "{seq} or {seq:03}, 9 digits at most"),
        "supplier": (re.compile(""), "{supplier} without a format"),
    }
    if part.field is None:
        return
    if part.field not in allowed:
        raise PatternRefused(
            f"batch number pattern {written!r} has {{{part.field}}}: date, seq and supplier are the fields there are"
        )
    form, says = allowed[part.field]
    if not form.fullmatch(part.form):
        raise PatternRefused(f"batch number pattern {written!r} has {part.form!r} in {{{part.field}}}: {says}")


def _legal(code: str) -> str:
    """A company's code with the characters that no label may carry as AI 10 replaced by a dash."""
    return "".join(character if is_batch_no(character) else "-" for character in code)


def shortened(code: str, room: int) -> str:
    """`code` in at most `room` characters (1 or more), all of them allowed in AI 10; always the same for one code."""
    legal = _legal(code)
    if len(legal) <= room:
        return legal
    digest = base64.b32encode(hashlib.sha256(code.encode()).digest()).decode()
    return legal[: room - 2] + digest[:2] if room >= 4 else digest[:room]
