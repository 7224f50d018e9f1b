"""Every check lets the right value pass and says where the wrong one is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.gs1 import Gs1Error, Rule, check_digit, checks
from contracts.gs1.checks import Check

# A company prefix of 6 digits, offer, save value 1, purchase requirement 1, its code and family: the shortest coupon.
COUPON = "0" + "614141" + "123456" + "11" + "11" + "0" + "000"

GOOD: list[tuple[Check, str]] = [
    (checks.has_check_digit, "04012345000016"),
    (checks.has_check_digit, "340123450000000017"),
    (checks.has_check_pair, "1987654Ad4X4bL5ttr2310c2K"),
    (checks.has_check_pair, "22"),
    (checks.starts_with_company_prefix, "4012X"),
    (checks.has_company_prefix_after_indicator, "94012"),
    (checks.is_date_or_month, "280200"),
    (checks.is_date, "000229"),
    (checks.is_long_date, "20000229"),
    (checks.is_hour_and_minute, "2359"),
    (checks.is_country_number, "156"),
    (checks.is_country_number_or_999, "999"),
    (checks.is_country_letters, "CN"),
    (checks.is_currency_number, "978"),
    (checks.is_piece_of_total, "0202"),
    (checks.is_position_in_sequence, "10/12"),
    (checks.is_latitude, "1800000000"),
    (checks.is_longitude, "3600000000"),
    (checks.is_iban, "GB33BUKB20201555555555"),
    (checks.is_percent_encoded, "A%2fB%C3%A4"),
    (checks.is_media_type, "10"),
    (checks.is_media_type, "80"),
    (checks.is_package_type, "APE"),
    (checks.is_importer_index, "_"),
    (checks.has_whole_padding, "ab="),
    (checks.has_whole_padding, "a=="),
    (checks.is_coupon, COUPON),
    (checks.is_coupon, COUPON + "101100009" + "21100009"),
    (checks.is_coupon, COUPON + "3280229" + "4280101" + "50123456" + "61" + "1234567" + "90001"),
    (checks.is_positive_offer, "006141411234560123456"),
]

BAD: list[tuple[Check, str, Rule, int]] = [
    (checks.has_check_digit, "04012345000015", Rule.CHECK_DIGIT, 13),
    (checks.has_check_pair, "1987654Ad4X4bL5ttr2310c2L", Rule.CHECK_PAIR, 23),
    (checks.has_check_pair, "2", Rule.CHECK_PAIR, 0),
    (checks.starts_with_company_prefix, "401", Rule.COMPANY_PREFIX, 0),
    (checks.starts_with_company_prefix, "40A2", Rule.COMPANY_PREFIX, 2),
    (checks.has_company_prefix_after_indicator, "940X2", Rule.COMPANY_PREFIX, 3),
    (checks.is_date_or_month, "270229", Rule.DAY, 4),
    (checks.is_date_or_month, "270431", Rule.DAY, 4),
    (checks.is_date_or_month, "270001", Rule.MONTH, 2),
    (checks.is_date, "270400", Rule.DAY, 4),
    (checks.is_long_date, "19000229", Rule.DAY, 6),
    (checks.is_long_date, "20241301", Rule.MONTH, 4),
    (checks.is_hour, "24", Rule.HOUR, 0),
    (checks.is_minute, "60", Rule.MINUTE, 0),
    (checks.is_second, "60", Rule.SECOND, 0),
    (checks.is_hour_and_minute, "2400", Rule.HOUR, 0),
    (checks.is_hour_and_minute, "2360", Rule.MINUTE, 2),
    (checks.is_country_number, "999", Rule.COUNTRY, 0),
    (checks.is_country_number_or_999, "998", Rule.COUNTRY, 0),
    (checks.is_country_letters, "cn", Rule.COUNTRY, 0),
    (checks.is_currency_number, "001", Rule.CURRENCY, 0),
    (checks.is_piece_of_total, "0302", Rule.PIECE_OF_TOTAL, 0),
    (checks.is_piece_of_total, "0002", Rule.PIECE_OF_TOTAL, 0),
    (checks.is_piece_of_total, "0100", Rule.PIECE_OF_TOTAL, 2),
    (checks.is_position_in_sequence, "123", Rule.POSITION_IN_SEQUENCE, 0),
    (checks.is_position_in_sequence, "2/1", Rule.POSITION_IN_SEQUENCE, 0),
    (checks.is_position_in_sequence, "1/01", Rule.LEADING_ZERO, 2),
    (checks.is_zero, "1", Rule.MUST_BE_ZERO, 0),
    (checks.is_not_zero, "0000", Rule.MUST_NOT_BE_ZERO, 0),
    (checks.has_no_leading_zero, "012", Rule.LEADING_ZERO, 0),
    (checks.has_non_digit, "12", Rule.NEEDS_A_NON_DIGIT, 0),
    (checks.is_hyphen, "+", Rule.HYPHEN, 0),
    (checks.is_yes_or_no, "2", Rule.YES_OR_NO, 0),
    (checks.is_winding, "2", Rule.WINDING, 0),
    (checks.is_biological_sex, "3", Rule.BIOLOGICAL_SEX, 0),
    (checks.is_latitude, "1800000001", Rule.LATITUDE, 0),
    (checks.is_longitude, "3600000001", Rule.LONGITUDE, 0),
    (checks.is_importer_index, "+", Rule.IMPORTER_INDEX, 0),
    (checks.is_package_type, "ape", Rule.PACKAGE_TYPE, 0),
    (checks.is_media_type, "11", Rule.MEDIA_TYPE, 0),
    (checks.is_percent_encoded, "A%2", Rule.PERCENT_ENCODING, 1),
    (checks.is_iban, "GB34BUKB20201555555555", Rule.IBAN, 2),
    (checks.is_iban, "XX33BUKB20201555555555", Rule.IBAN, 0),
    (checks.is_iban, "GB33BUKB2020155555555a", Rule.IBAN, 21),
    (checks.is_iban, "GB33BUKB20", Rule.IBAN, 0),
    (checks.has_whole_padding, "abc=", Rule.BASE64_PADDING, 3),
    (checks.has_whole_padding, "===", Rule.BASE64_PADDING, 0),
    (checks.is_coupon, "0614141A", Rule.DIGITS_ONLY, 7),
    (checks.is_coupon, "7", Rule.COUPON, 0),
    (checks.is_coupon, "061414", Rule.COUPON, 1),
    (checks.is_coupon, "0614141123456610110000", Rule.COUPON, 13),
    (checks.is_coupon, COUPON + "8", Rule.COUPON, 21),
    (checks.is_coupon, COUPON + "3270229", Rule.COUPON, 26),
    (checks.is_coupon, COUPON + "3280101" + "4280102", Rule.COUPON, 29),
    (checks.is_positive_offer, "206141411234560123456", Rule.COUPON, 0),
    (checks.is_positive_offer, "0061414112345601234567", Rule.COUPON, 21),
]


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_a_right_value_has_no_problem(check: Check, text: str) -> None:
    assert check(text) is None


@pytest.mark.parametrize(("check", "text", "rule", "offset"), BAD)
def test_a_wrong_value_has_its_problem_at_its_place(check: Check, text: str, rule: Rule, offset: int) -> None:
    problem = check(text)
    assert problem is not None
    assert (problem.rule, problem.offset) == (rule, offset), problem.says


@given(st.text("0123456789", min_size=1, max_size=30))
def test_a_check_digit_catches_every_single_wrong_digit(digits: str) -> None:
    whole = digits + check_digit(digits)
    assert checks.has_check_digit(whole) is None
    wrong = [whole[:i] + str((int(d) + k) % 10) + whole[i + 1 :] for i, d in enumerate(whole) for k in (1, 5, 9)]
    assert all(checks.has_check_digit(one) is not None for one in wrong)


@pytest.mark.parametrize("text", ["", "12A", "١٢", " 12"])
def test_only_digits_have_a_check_digit(text: str) -> None:
    with pytest.raises(Gs1Error) as raised:
        check_digit(text)
    assert raised.value.rule is Rule.DIGITS_ONLY
