"""May this schema take the place of the released one? Every change that somebody could stumble over, by path and rule.

Services are deployed one by one and in any order, so an old listener hears new speakers and a new listener hears old
events: a contract must hold both ways. Within one topic version only two changes do: a new optional field, and a new
value in a list that has `unknown`, as which old listeners read it. Words for people may change at any time.
Everything else is a new topic version, beside the old one for a release.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from contracts.schema import Schema


class Rule(StrEnum):
    """What is not allowed within a topic version, in the words of a report."""

    EVENT_REMOVED = "event removed"
    REMOVED = "field removed"
    RENAMED = "renamed?"
    NEWLY_REQUIRED = "newly required"
    OPTIONAL_TO_REQUIRED = "optional → required"
    REQUIRED_TO_OPTIONAL = "required → optional"
    TYPE_CHANGED = "type changed"
    NULL_REFUSED = "null no longer allowed"
    NULL_ALLOWED = "null newly allowed"
    ENUM_VALUE_REMOVED = "enum value removed"
    ENUM_VALUE_ADDED = "enum value added to a list without `unknown`"
    NARROWED = "narrowed"
    WIDENED = "widened"
    DEFAULT_CHANGED = "default changed"


_HARMLESS_TO_A_READER = frozenset(
    {Rule.REMOVED, Rule.REQUIRED_TO_OPTIONAL, Rule.NULL_ALLOWED, Rule.WIDENED, Rule.ENUM_VALUE_ADDED}
)

_WORDS = frozenset({"$schema", "$id", "$comment", "$defs", "title", "description", "examples", "deprecated"})
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_BY_HAND = frozenset({"type", "anyOf", "enum", "const", "properties", "required", "items", "default", "pattern"})

_DECIMAL = re.compile(r"\^-\?\[0-9]\{1,(?P<whole>\d+)}\(\\\.\[0-9]\{1,(?P<places>\d+)}0\*\)\?\$")
"""What `contracts.schema.decimal_pattern` writes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One change that somebody could stumble over. `path` is `batch.batch_no`, or `shares[].quantity` within a list."""

    path: str
    rule: Rule
    detail: str

    def __str__(self) -> str:
        """One line of a report."""
        return f"{self.path}: {self.rule}: {self.detail}"


def problems(released: Schema, now: Schema) -> list[Problem]:
    """Why `now` may not take the place of `released`, for its speaker and all who listen; empty: it may."""
    return _Comparison(released, now).of_everything()


def reader_problems(released: Schema, reader: Schema) -> list[Problem]:
    """Why a listener with the model `reader` cannot read, or would misread, what `released` allows to be said.

    A listener declares only the fields it needs, and may ask less of them. A listed value that it does not declare is
    found here and nowhere else: reading it raises nothing, it just becomes `unknown`.
    """
    return [problem for problem in problems(released, reader) if problem.rule not in _HARMLESS_TO_A_READER]


def released_problems(released: Mapping[str, Schema], now: Mapping[str, Schema]) -> list[Problem]:
    """`problems` of every released schema by its path, with those that are gone; new events are welcome."""
    found = []
    for path, before in released.items():
        if path not in now:
            found.append(Problem(path, Rule.EVENT_REMOVED, "it is released, and this code does not say it any more"))
            continue
        found += [replace(problem, path=f"{path} {problem.path}") for problem in problems(before, now[path])]
    return found


class _Comparison:
    """Two schemas side by side, each with its own definitions."""

    def __init__(self, released: Schema, now: Schema) -> None:
        self._released = released
        self._now = now
        self._entered: list[tuple[str, str]] = []

    def of_everything(self) -> list[Problem]:
        return self._value("", self._released, self._now)

    def _value(self, path: str, old: Any, new: Any) -> list[Problem]:
        references = (_reference(old), _reference(new))
        if references in self._entered:  # a definition that contains itself: it is being compared already
            return []
        if any(references):
            self._entered.append(references)
        found = list(self._of_value(path, old, new))
        if any(references):
            self._entered.pop()
        return found

    def _of_value(self, path: str, old: Any, new: Any) -> Iterator[Problem]:
        where = path or "(the event)"
        old, new = _resolved(old, self._released), _resolved(new, self._now)
        old, old_null = _without_null(old, self._released)
        new, new_null = _without_null(new, self._now)
        if old_null and not new_null:
            yield Problem(where, Rule.NULL_REFUSED, "null was allowed")
        if new_null and not old_null:
            yield Problem(where, Rule.NULL_ALLOWED, "null was not allowed: leave the field out instead")
        if "anyOf" in old or "anyOf" in new:
            yield from self._alternatives(where, old, new)
            return
        if _types(old) != _types(new):
            wider = {*_types(new), *(["integer"] if "number" in _types(new) else [])}
            rule = Rule.WIDENED if _types(old) and {*_types(old)} <= wider else Rule.TYPE_CHANGED
            yield Problem(where, rule, f"type was {_named(_types(old))}, is {_named(_types(new))}")
            return
        yield from _listed(where, old, new)
        yield from _pattern(where, old, new)
        yield from _limits(where, old, new)
        yield from self._fields(path, old, new)
        if "items" in old or "items" in new:
            yield from self._value(f"{path}[]", old.get("items", {}), new.get("items", {}))

    def _alternatives(self, where: str, old: Schema, new: Schema) -> Iterator[Problem]:
        before, after = old.get("anyOf", [old]), new.get("anyOf", [new])

        def fits(one: Schema, other: Schema) -> bool:
            return not self._value(where, one, other)

        for one in before:
            if not any(fits(one, other) for other in after):
                yield Problem(where, Rule.TYPE_CHANGED, f"the alternative {_named(_types(one))} is gone or changed")
        for other in after:
            if not any(fits(one, other) for one in before):
                yield Problem(where, Rule.WIDENED, f"the alternative {_named(_types(other))} is new")

    def _default(self, where: str, old: Any, new: Any) -> Iterator[Problem]:
        before, after = (_resolved(one, whole) for one, whole in ((old, self._released), (new, self._now)))
        if before.get("default") != after.get("default"):
            detail = f"absent meant {_shown(before.get('default'))}, and means {_shown(after.get('default'))}"
            yield Problem(where, Rule.DEFAULT_CHANGED, detail)

    def _fields(self, path: str, old: Schema, new: Schema) -> Iterator[Problem]:
        before, after = old.get("properties", {}), new.get("properties", {})
        required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
        added = [name for name in after if name not in before]
        for name, field in before.items():
            here = f"{path}.{name}" if path else name
            if name in after:
                yield from self._value(here, field, after[name])
                if name not in required_before | required_after:
                    yield from self._default(here, field, after[name])
                if name in required_after - required_before:
                    yield Problem(here, Rule.OPTIONAL_TO_REQUIRED, "events that were said without it cannot be read")
                if name in required_before - required_after:
                    yield Problem(here, Rule.REQUIRED_TO_OPTIONAL, "listeners of today rely on it")
                continue
            twin = next((one for one in added if not self._value(here, field, after[one])), None)
            if twin:
                yield Problem(here, Rule.RENAMED, f"it is gone, and {twin!r} of the same shape is new")
            else:
                yield Problem(here, Rule.REMOVED, "listeners of today may read it")
        for name in added:
            if name in required_after:
                here = f"{path}.{name}" if path else name
                yield Problem(here, Rule.NEWLY_REQUIRED, "events that were said without it cannot be read")


def _reference(schema: Any) -> str:
    return str(schema.get("$ref", "")) if isinstance(schema, Mapping) else ""


def _resolved(schema: Any, whole: Schema) -> Schema:
    """Follow `#/$defs/…`; what stands beside a reference counts too. Raises `ValueError` for one that leads nowhere."""
    if schema is True:
        return {}
    if not isinstance(schema, Mapping):
        return {"not": {}}  # the schema `false`
    found = dict(schema)
    while "$ref" in found:
        name = found.pop("$ref").removeprefix("#/$defs/")
        if name not in whole.get("$defs", {}):
            raise ValueError(f"the reference {name!r} leads nowhere: there is {_named(whole.get('$defs', {}))}")
        found = {**whole["$defs"][name], **found}
    return found


def _without_null(schema: Schema, whole: Schema) -> tuple[Schema, bool]:
    """The schema of the value itself, and whether `null` may stand for it."""
    if "anyOf" in schema:
        real = [one for one in schema["anyOf"] if _types(_resolved(one, whole)) != ("null",)]
        if len(real) < len(schema["anyOf"]):
            beside = {name: value for name, value in schema.items() if name != "anyOf"}
            return ({**_resolved(real[0], whole), **beside} if len(real) == 1 else {**beside, "anyOf": real}), True
    types = _types(schema)
    if "null" in types and len(types) > 1:
        return {**schema, "type": [one for one in types if one != "null"]}, True
    return schema, False


def _types(schema: Schema) -> tuple[str, ...]:
    given = schema.get("type", ())
    return (given,) if isinstance(given, str) else tuple(sorted(given))


def _values(schema: Schema) -> tuple[Any, ...] | None:
    if "const" in schema:
        return (schema["const"],)
    return tuple(schema["enum"]) if "enum" in schema else None


def _named(values: Any) -> str:
    return ", ".join(map(str, values)) or "anything"


def _listed(where: str, old: Schema, new: Schema) -> Iterator[Problem]:
    before, after = _values(old), _values(new)
    if before is None and after is None:
        return
    if before is None:
        yield Problem(where, Rule.NARROWED, f"only {_named(after or ())} is allowed now")
        return
    if after is None:
        yield Problem(where, Rule.WIDENED, f"only {_named(before)} was allowed")
        return
    for value in before:
        if value not in after:
            yield Problem(where, Rule.ENUM_VALUE_REMOVED, f"{value!r} was a value, now there is {_named(after)}")
    if "unknown" not in before:
        for value in after:
            if value not in before:
                yield Problem(where, Rule.ENUM_VALUE_ADDED, f"listeners of today cannot read {value!r}")


def _pattern(where: str, old: Schema, new: Schema) -> Iterator[Problem]:
    before, after = old.get("pattern"), new.get("pattern")
    if before == after:
        return
    decimal_before, decimal_after = _DECIMAL.fullmatch(before or ""), _DECIMAL.fullmatch(after or "")
    if decimal_before and decimal_after:
        for name, words in (("whole", "digits before the point"), ("places", "decimal places")):
            was, is_ = int(decimal_before[name]), int(decimal_after[name])
            if was != is_:
                yield Problem(where, Rule.NARROWED if is_ < was else Rule.WIDENED, f"{words} were {was}, are {is_}")
    elif after is None:
        yield Problem(where, Rule.WIDENED, f"pattern {before} is gone")
    else:
        # Whether one pattern allows all that another does is not seen: a changed one counts as narrowed.
        yield Problem(where, Rule.NARROWED, f"pattern was {before or 'none'}, is {after}")


def _limits(where: str, old: Schema, new: Schema) -> Iterator[Problem]:
    """Every other keyword: the known bounds with their direction, the unknown ones by the cautious reading."""
    for name in sorted((old.keys() | new.keys()) - _WORDS - _BY_HAND):
        was, is_ = old.get(name), new.get(name)
        if was == is_:
            continue
        if name == "additionalProperties" and not isinstance(was, Mapping) and not isinstance(is_, Mapping):
            continue  # closed for speakers, open for listeners: said by the form, not by the contract
        if name == "format" and was is not None and is_ is not None:
            rule = Rule.TYPE_CHANGED
        elif is_ is None:
            rule = Rule.WIDENED
        elif was is None:
            rule = Rule.NARROWED
        elif name in _AT_MOST:
            rule = Rule.NARROWED if is_ < was else Rule.WIDENED
        elif name in _AT_LEAST:
            rule = Rule.NARROWED if is_ > was else Rule.WIDENED
        elif name == "multipleOf":
            rule = Rule.NARROWED if Decimal(str(was)) % Decimal(str(is_)) else Rule.WIDENED
        else:
            rule = Rule.NARROWED
        yield Problem(where, rule, f"{name} was {_shown(was)}, is {_shown(is_)}")


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
