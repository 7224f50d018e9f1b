"""What a new definition of an item or partner means: accepted with the next revision, unchanged, or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from contracts.gs1 import check_digit
from contracts.integration import ItemDefined, PartnerDefined
from services.integration.domain.refused import Refused
from services.integration.domain.units import Units

Definition = TypeVar("Definition", ItemDefined, PartnerDefined)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The definition is already so: nothing is said."""

    revision: int


def define_item(
    wanted: ItemDefined, current: ItemDefined | None, *, in_use: bool, gtin_owners: Mapping[str, str]
) -> ItemDefined | Unchanged | Refused:
    """The item as it is from now on, with its next revision.

    `in_use`: goods of it were expected, received or wanted, so that quantities were said in its units: the base unit
    stays, and no unit may change its factor or go away. `gtin_owners` tells whose each GTIN already is.
    """
    refused = _item_problem(wanted, gtin_owners) or (current and in_use and _unit_change(wanted, current)) or None
    return refused or _next(wanted, current)


def define_partner(wanted: PartnerDefined, current: PartnerDefined | None) -> PartnerDefined | Unchanged | Refused:
    """The partner as it is from now on, with its next revision."""
    if wanted.gln is not None and (problem := check_digit_problem(wanted.gln, "GLN")):
        return Refused("check_digit", problem, "gln")
    seen: set[str | None] = set()
    for rule in wanted.shelf_life_rules:
        if rule.item_id in seen:
            about = f"item {rule.item_id!r}" if rule.item_id else "any item"
            return Refused("rule_twice", f"{about} has two shelf-life rules: one each", "shelf_life_rules")
        seen.add(rule.item_id)
    return _next(wanted, current)


def _next(wanted: Definition, current: Definition | None) -> Definition | Unchanged:
    if current is None:
        return wanted.model_copy(update={"revision": 1})
    if wanted.model_copy(update={"revision": current.revision}) == current:
        return Unchanged(current.revision)
    return wanted.model_copy(update={"revision": current.revision + 1})


def check_digit_problem(digits: str, word: str) -> str | None:
    """Why a GTIN or GLN (digits only) has the wrong check digit, naming the right one; None when it holds."""
    right = check_digit(digits[:-1])
    return None if digits[-1] == right else f"{word} {digits!r} ends in {digits[-1]}: its check digit is {right}"


def _item_problem(wanted: ItemDefined, gtin_owners: Mapping[str, str]) -> Refused | None:
    units = [each.unit for each in wanted.units]
    if wanted.base_unit in units:
        return Refused(
            "base_unit_listed",
            f"{wanted.base_unit!r} is the base unit: list only the other units, each with its factor",
            "units",
        )
    if twice := {unit for unit in units if units.count(unit) > 1}:
        return Refused("unit_twice", f"unit {min(twice)!r} is listed twice: one factor each", "units")
    known = {*units, wanted.base_unit}
    seen: set[str] = set()
    for place, alias in enumerate(wanted.gtins):
        where = f"gtins[{place}].gtin"
        if problem := check_digit_problem(alias.gtin, "GTIN"):
            return Refused("check_digit", problem, where)
        if alias.gtin in seen:
            return Refused("gtin_twice", f"GTIN {alias.gtin!r} is listed twice: it names one unit", where)
        if alias.unit not in known:
            return Refused(
                "unknown_unit",
                f"GTIN {alias.gtin!r} names unit {alias.unit!r}: known are {', '.join(sorted(known))}",
                f"gtins[{place}].unit",
            )
        owner = gtin_owners.get(alias.gtin)
        if owner is not None and owner != wanted.item_id:
            return Refused("gtin_taken", f"GTIN {alias.gtin!r} already names item {owner!r}: it names one item", where)
        seen.add(alias.gtin)
    return None


def _unit_change(wanted: ItemDefined, current: ItemDefined) -> Refused | None:
    if wanted.base_unit != current.base_unit:
        return Refused(
            "base_unit_in_use",
            f"item {current.item_id!r} is counted in {current.base_unit} and has stock or receipts: "
            f"its base unit cannot become {wanted.base_unit}",
            "base_unit",
        )
    now, then = Units.of(current).factors, Units.of(wanted).factors
    for unit, factor in now.items():
        if then.get(unit) != factor:
            becomes = f"become {then[unit]}" if unit in then else "be taken away"
            return Refused(
                "unit_in_use",
                f"one {unit} of item {current.item_id!r} is {factor} {current.base_unit} and the item has stock or "
                f"receipts: the factor cannot {becomes}",
                "units",
            )
    return None
