"""Who may do what on this machine: tokens for demo users, signed with a key that never leaves the run's folder.

For development only. Services refuse this issuer when their `ENVIRONMENT` is `production`.
"""

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from deploy.local.cache import locked
from deploy.local.faults import Missing

ISSUER = "batchwise-local"
AUDIENCE = "batchwise"
ALGORITHM = "ES256"
ROLES = ("operator", "inspector", "supervisor", "planner", "quality", "integrator", "auditor", "admin")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody of the demo warehouse; `subject` is what the audit trail shows."""

    subject: str
    name: str
    roles: tuple[str, ...]
    sites: tuple[str, ...] = ("*",)


USERS = {
    user.subject: user
    for user in (
        User("olivia", "Olivia Operator", ("operator",)),
        User("ivan", "Ivan Inspector", ("inspector",)),
        User("sofia", "Sofia Supervisor", ("supervisor",)),
        User("pavel", "Pavel Planner", ("planner",)),
        User("qiang", "Qiang Quality", ("quality",)),
        User("mei", "Mei Integrator", ("integrator",)),
        User("aiko", "Aiko Auditor", ("auditor",)),
        User("ada", "Ada Admin", ("admin",)),
    )
}
"""One person a role, so that a demo shows who may do what."""


def user_named(name: str) -> User:
    """The demo user `name`; Missing names the ones there are."""
    if (user := USERS.get(name.lower())) is None:
        raise Missing(f"there is no demo user {name!r}: there are {', '.join(USERS)}")
    return user


def user_with(role: str) -> User:
    """The demo user who has `role`; Missing names the roles there are."""
    for user in USERS.values():
        if role in user.roles:
            return user
    raise Missing(f"there is no role {role!r}: there are {', '.join(ROLES)}")


class Issuer:
    """Signs tokens with the key pair in `folder`, which is made when there is none (readable by its owner only).

    `jwks` is the file with the public key: what services verify tokens with.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.jwks = folder / "jwks.json"
        secret = folder / "issuer-key.pem"
        with locked(folder / "issuer.lock"):  # two processes at once must not sign with two keys
            if not secret.exists():
                _write_private(secret, _new_key())
            self._key = secret.read_bytes()
            public = _public_jwk(self._key)
            self._key_id: str = public["kid"]
            content = json.dumps({"keys": [public]}, indent=1) + "\n"
            if not self.jwks.exists() or self.jwks.read_text() != content:
                self.jwks.write_text(content)

    def mint(
        self,
        subject: str,
        roles: Iterable[str],
        *,
        sites: Sequence[str] = ("*",),
        name: str | None = None,
        minutes: float = 60,
        audience: str = AUDIENCE,
        issuer: str = ISSUER,
        **overrides: Any,
    ) -> str:
        """A token for `subject` that is valid from now on for `minutes`.

        `overrides` replace or add claims, and one that is None is left out: for tests of what a service refuses.

        Raises:
            ValueError: a role that does not exist.
        """
        roles = list(roles)
        if unknown := [role for role in roles if role not in ROLES]:
            raise ValueError(f"unknown roles {unknown}: there are {', '.join(ROLES)}")
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": audience,
            "sub": subject,
            "name": name or subject,
            "roles": roles,
            "sites": list(sites),
            "iat": now,
            "exp": now + int(minutes * 60),
            "jti": str(uuid.uuid4()),
        }
        kept = {claim: value for claim, value in (claims | overrides).items() if value is not None}
        return jwt.encode(kept, self._key, algorithm=ALGORITHM, headers={"kid": self._key_id})

    def mint_for(self, user: User, *, minutes: float = 60) -> str:
        """A token for one of the demo users."""
        return self.mint(user.subject, user.roles, sites=user.sites, name=user.name, minutes=minutes)


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_jwk(key: bytes) -> dict[str, Any]:
    private = serialization.load_pem_private_key(key, password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 - we made it
    public = private.public_key()
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(public, as_dict=True)
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return jwk | {"kid": point.hex()[-16:], "use": "sig", "alg": ALGORITHM}


def _write_private(path: Path, content: bytes) -> None:
    """Write `content` so that nobody else can read it at any moment, and never half of it."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    temporary.rename(path)


def main() -> None:
    """`python -m deploy.local.issuer FOLDER [--role ROLE]`: make the key and its JWKS; print a token of a role."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.issuer", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--role", choices=ROLES)
    asked = parser.parse_args()
    issuer = Issuer(asked.folder)
    if asked.role:
        sys.stdout.write(issuer.mint_for(user_with(asked.role)) + "\n")


if __name__ == "__main__":
    main()
