"""Tokens of the local issuer are what services expect, and its key is nobody else's."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from deploy.local.faults import Missing
from deploy.local.issuer import AUDIENCE, ISSUER, ROLES, USERS, Issuer, user_named, user_with


def verified(token: str, jwks: Path, **expected: str) -> dict[str, object]:
    """Read `token` as a service does: with the published keys alone."""
    keys = jwt.PyJWKSet.from_dict(json.loads(jwks.read_text()))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    expected = {"audience": AUDIENCE, "issuer": ISSUER} | expected
    return jwt.decode(token, key, algorithms=["ES256"], **expected)


def test_a_token_says_who_may_do_what_and_where(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    claims = verified(issuer.mint("olivia", ["operator"], sites=["S1"], name="Olivia Operator"), issuer.jwks)
    assert {claim: claims[claim] for claim in ("sub", "name", "roles", "sites")} == {
        "sub": "olivia",
        "name": "Olivia Operator",
        "roles": ["operator"],
        "sites": ["S1"],
    }
    assert claims["jti"] != verified(issuer.mint("olivia", ["operator"]), issuer.jwks)["jti"]


def test_a_token_ends_when_its_minutes_are_over(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    claims = verified(issuer.mint("olivia", ["operator"], minutes=15), issuer.jwks)
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == 15 * 60
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(issuer.mint("olivia", ["operator"], minutes=-1), issuer.jwks)


def test_a_token_for_somebody_else_or_by_somebody_else_is_not_accepted(tmp_path: Path) -> None:
    issuer, other = Issuer(tmp_path / "ours"), Issuer(tmp_path / "theirs")
    with pytest.raises(jwt.InvalidAudienceError):
        verified(issuer.mint("olivia", ["operator"], audience="payroll"), issuer.jwks)
    with pytest.raises(jwt.InvalidIssuerError):
        verified(issuer.mint("olivia", ["operator"], issuer="elsewhere"), issuer.jwks)
    with pytest.raises(KeyError):
        verified(other.mint("olivia", ["operator"]), issuer.jwks)


def test_claims_can_be_replaced_and_left_out_to_test_what_services_refuse(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    claims = verified(issuer.mint("olivia", ["operator"], sub="someone", jti=None), issuer.jwks)
    assert claims["sub"] == "someone"
    assert "jti" not in claims


def test_a_role_that_does_not_exist_is_refused_with_the_ones_that_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['king'\].*operator"):
        Issuer(tmp_path).mint("olivia", ["king"])


def test_the_key_is_kept_is_private_and_is_not_published(tmp_path: Path) -> None:
    token = Issuer(tmp_path).mint("olivia", ["operator"])
    again = Issuer(tmp_path)
    assert verified(token, again.jwks)["sub"] == "olivia"
    assert stat.S_IMODE((tmp_path / "issuer-key.pem").stat().st_mode) == 0o600
    assert set(json.loads(again.jwks.read_text())["keys"][0]) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_issuers_that_start_together_sign_with_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        issuers = list(pool.map(lambda _: Issuer(tmp_path), range(8)))
    for issuer in issuers:
        assert verified(issuer.mint("olivia", ["operator"]), issuers[0].jwks)["sub"] == "olivia"


def test_every_role_has_a_demo_user(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    for role in ROLES:
        assert role in verified(issuer.mint_for(user_with(role)), issuer.jwks)["roles"]
    assert USERS["olivia"].name == "Olivia Operator"


def test_an_unknown_user_is_answered_with_the_known_ones() -> None:
    with pytest.raises(Missing, match=r"'bob': there are olivia, "):
        user_named("bob")
