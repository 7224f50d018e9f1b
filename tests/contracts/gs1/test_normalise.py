"""What devices do to a scan is repaired before it is read, and it is recorded that it was."""

from __future__ import annotations

import pytest

from contracts.gs1 import Gs1Error, ScannerProfile, normalise, parse

GS = "\x1d"
ITEM = "0104012345000016"
CLEAN = f"]d2{ITEM}10LOT-7{GS}17280229"


@pytest.mark.parametrize(
    ("scan", "profile"),
    [
        (f"]d2{GS}{ITEM}10LOT-7{GS}17280229", ScannerProfile()),
        (f"]d2{ITEM}10LOT-7{GS}{GS}17280229", ScannerProfile()),
        (f"]d2{ITEM}10LOT-7{{GS}}17280229", ScannerProfile()),
        (f"]d2{ITEM}10LOT-7|17280229", ScannerProfile()),
        (f"]d2{ITEM}10LOT-7~17280229", ScannerProfile()),
        (f"]d2{ITEM}10LOT-7␝17280229", ScannerProfile()),
        (f"]d2{ITEM}10LOT-7<GS>17280229", ScannerProfile(separators=("<GS>",))),
        (f"#{CLEAN}\r\n", ScannerProfile(prefix="#", suffix="\r\n")),
    ],
)
def test_a_repaired_scan_reads_like_a_clean_one_and_says_it_was_repaired(scan: str, profile: ScannerProfile) -> None:
    with pytest.raises(Gs1Error):
        parse(f"{scan}|" if "<GS>" in scan else scan)  # parse itself stays strict
    repaired = normalise(scan, profile)
    assert repaired.text == CLEAN
    message = parse(repaired)
    assert message == parse(CLEAN)
    assert message.normalised
    assert repaired.changes


def test_a_clean_scan_is_left_as_it_is() -> None:
    clean = normalise(CLEAN, ScannerProfile())
    assert (clean.text, clean.changes, parse(clean).normalised) == (CLEAN, (), False)


def test_gs_in_pointed_brackets_is_text_unless_the_device_is_known_to_send_it() -> None:
    assert parse(normalise(f"{ITEM}10A<GS>17280229", ScannerProfile())).batch_no == "A<GS>17280229"


def test_a_web_address_may_have_a_tilde() -> None:
    link = f"https://example.org/~shop/01/{ITEM[2:]}"
    assert normalise(link, ScannerProfile()).text == link
    assert normalise(f"]Q1{link}", ScannerProfile()).text == f"]Q1{link}"


def test_the_bar_that_joins_a_composite_symbol_is_no_separator() -> None:
    composite = "]E04012345000009|]e010L|17280229"
    repaired = normalise(composite, ScannerProfile())
    assert repaired.text == f"]E04012345000009|]e010L{GS}17280229"
    assert str(parse(repaired)) == "(01)04012345000009(10)L(17)280229"


def test_the_changes_say_what_was_done() -> None:
    assert normalise(f"]d2{GS}{ITEM}10L|17280229", ScannerProfile()).changes == (
        "replaced '|' by GS 1 time",
        "dropped GS before the first element",
    )


def test_a_profile_cannot_have_an_empty_separator() -> None:
    with pytest.raises(ValueError, match="separator ''"):
        ScannerProfile(separators=("",))
