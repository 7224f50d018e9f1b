"""Our table of application identifiers is the official one, said in our own form."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from contracts.gs1 import checks
from contracts.gs1.application_identifiers import (
    APPLICATION_IDENTIFIERS,
    LENGTH_BY_PREFIX,
    ApplicationIdentifier,
)
from tests.contracts.gs1.official import official

LINTERS = {
    "csum": checks.has_check_digit,
    "csumalpha": checks.has_check_pair,
    "gcppos1": checks.starts_with_company_prefix,
    "gcppos2": checks.has_company_prefix_after_indicator,
    "yymmd0": checks.is_date_or_month,
    "yymmdd": checks.is_date,
    "yyyymmdd": checks.is_long_date,
    "hh": checks.is_hour,
    "mi": checks.is_minute,
    "ss": checks.is_second,
    "hhmi": checks.is_hour_and_minute,
    "iso3166": checks.is_country_number,
    "iso3166999": checks.is_country_number_or_999,
    "iso3166alpha2": checks.is_country_letters,
    "iso4217": checks.is_currency_number,
    "iso5218": checks.is_biological_sex,
    "iban": checks.is_iban,
    "pieceoftotal": checks.is_piece_of_total,
    "posinseqslash": checks.is_position_in_sequence,
    "pcenc": checks.is_percent_encoded,
    "latitude": checks.is_latitude,
    "longitude": checks.is_longitude,
    "importeridx": checks.is_importer_index,
    "packagetype": checks.is_package_type,
    "mediatype": checks.is_media_type,
    "couponcode": checks.is_coupon,
    "couponposoffer": checks.is_positive_offer,
    "hasnondigit": checks.has_non_digit,
    "nozeroprefix": checks.has_no_leading_zero,
    "nonzero": checks.is_not_zero,
    "zero": checks.is_zero,
    "hyphen": checks.is_hyphen,
    "winding": checks.is_winding,
    "yesno": checks.is_yes_or_no,
}
NAMES = {check: name for name, check in LINTERS.items()}


def as_the_dictionary_says(ai: ApplicationIdentifier) -> dict[str, object]:
    components = []
    for part in ai.components:
        size = str(part.longest) if part.shortest == part.longest else f"..{part.longest}"
        kind = part.characters.code + size
        components.append(",".join([f"[{kind}]" if part.optional else kind, *(NAMES[check] for check in part.checks)]))
    return {
        "components": components,
        "no separator": not ai.separated,
        "attribute": ai.attribute,
        "req": {frozenset(group) for group in ai.needs},
        "ex": set(ai.excludes),
        "dlpkey": None if ai.qualifiers is None else list(ai.qualifiers),
    }


def dictionary() -> Iterator[tuple[str, dict[str, object]]]:
    """Every AI of the official dictionary, ranges expanded."""
    for line in official("gs1-syntax-dictionary.txt").splitlines():
        if not line[:1].isdigit():
            continue
        codes, *fields = line.partition("#")[0].split()
        flags = fields.pop(0) if set(fields[0]) <= set("*?") else ""
        attributes = defaultdict(list)
        for field in [field for field in fields if re.match(r"(req|ex|dlpkey)\b", field)]:
            name, _, value = field.partition("=")
            attributes[name].append(value)
        assert all(len(values) == 1 for values in attributes.values()), f"{codes} repeats an attribute"
        req, ex = (",".join(attributes[name]) for name in ("req", "ex"))
        said = {
            "components": [field for field in fields if not re.match(r"(req|ex|dlpkey)\b", field)],
            "no separator": "*" in flags,
            "attribute": "?" in flags,
            "req": {frozenset(group.split("+")) for group in req.split(",") if group},
            "ex": {pattern for pattern in ex.split(",") if pattern},
            "dlpkey": [tuple(ai for ai in sequence.split(",") if ai) for sequence in attributes["dlpkey"][0].split("|")]
            if "dlpkey" in attributes
            else None,
        }
        first, _, last = codes.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield f"{number:0{len(first)}d}", said


def test_every_application_identifier_is_the_official_one() -> None:
    theirs = dict(dictionary())
    assert len(theirs) == 541
    assert {code: as_the_dictionary_says(ai) for code, ai in APPLICATION_IDENTIFIERS.items()} == theirs


def test_we_know_every_linter_the_dictionary_names() -> None:
    named = {name for _, said in dictionary() for part in said["components"] for name in part.split(",")[1:]}  # type: ignore[attr-defined]
    assert named == LINTERS.keys()


def test_the_first_two_digits_tell_how_many_digits_an_ai_has() -> None:
    assert {LENGTH_BY_PREFIX[code[:2]] - len(code) for code in APPLICATION_IDENTIFIERS} == {0}


def test_no_separator_is_needed_only_where_the_length_is_fixed() -> None:
    assert all(ai.shortest == ai.longest for ai in APPLICATION_IDENTIFIERS.values() if not ai.separated)


def test_every_ai_that_another_needs_or_excludes_exists() -> None:
    named = {
        pattern
        for ai in APPLICATION_IDENTIFIERS.values()
        for pattern in (*ai.excludes, *(one for group in ai.needs for one in group))
    }
    unknown = {
        pattern
        for pattern in named
        if not any(re.fullmatch(pattern.replace("n", "."), c) for c in APPLICATION_IDENTIFIERS)
    }
    assert unknown == set()


def test_a_key_may_be_followed_by_its_qualifiers_in_order_each_of_them_optional() -> None:
    item = APPLICATION_IDENTIFIERS["01"].paths()
    assert item == {("01", *chosen) for k in range(4) for chosen in combinations(("22", "10", "21"), k)} | {
        ("01", "235")
    }
