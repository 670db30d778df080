"""Access tokens: short-lived, signed, and verified by anybody who has the public keys.

EdDSA and nothing else, whatever a token's header says; `kid` picks among the keys we know and is never looked up
anywhere. One key signs. The others are those whose tokens are good as well: the next one, so that every process knows
it before the first signs with it, and the one before, until its last token has expired (ACCESS_TOKEN_S).
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.errors import Unauthenticated
from domain.users import Role

ACCESS_TOKEN_S: Final = 900
ISSUER: Final = "kontor"
ALGORITHM: Final = "EdDSA"
TOKEN_LENGTH_MAX: Final = 4_096
KID_LENGTH: Final = 16
KNOWN_MAX: Final = 4_096  # about 4 MB; whoever comes with the same token again need not wait for the same signature
_REFUSED: Final = "The access token is not valid or has expired; refresh it, or sign in again."


Who = tuple[UUID, tuple[Role, ...], UUID]  # user, roles, session


class AccessTokens:
    """Signs with the first of the seeds (32 bytes each), verifies what any of them signed."""

    def __init__(self, seed: bytes, *others: bytes) -> None:
        keys = [Ed25519PrivateKey.from_private_bytes(each) for each in (seed, *others)]
        self._private = keys[0]
        self._public = {_kid(key): key.public_key() for key in keys}
        self._kid = _kid(self._private)
        self._known: OrderedDict[str, tuple[Who, int]] = OrderedDict()  # only what was good, the latest used last

    def issue(self, user_id: UUID, roles: Iterable[Role], session_id: UUID, *, now: datetime) -> str:
        """A token good for ACCESS_TOKEN_S."""
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": str(user_id),
            "sid": str(session_id),
            "roles": [role.value for role in roles],
            "iat": now,
            "exp": now + timedelta(seconds=ACCESS_TOKEN_S),
        }
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": self._kid})

    def verify(self, token: str) -> Who:
        """User, roles and session. Raises Unauthenticated for a token that is not ours or has expired; at most one
        signature is checked, none of a token that was good before, and nothing above TOKEN_LENGTH_MAX is looked at."""
        return self._verified(token)[0]

    def good_until(self, token: str) -> datetime:
        """When it expires. Raises Unauthenticated as `verify` does."""
        return datetime.fromtimestamp(self._verified(token)[1], UTC)

    def _verified(self, token: str) -> tuple[Who, int]:
        known = self._known.get(token)
        if known is not None and time.time() < known[1]:
            self._known.move_to_end(token)
            return known
        claims = self._checked(token)
        try:
            who = UUID(claims["sub"]), tuple(Role(role) for role in claims["roles"]), UUID(claims["sid"])
            verified = who, int(claims["exp"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unauthenticated(_REFUSED) from None
        self._known[token] = verified
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return verified

    def _checked(self, token: str) -> dict[str, Any]:
        try:
            if len(token) > TOKEN_LENGTH_MAX:
                raise jwt.InvalidTokenError("too long")
            key = self._public[jwt.get_unverified_header(token)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=ISSUER,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "sid", "aud", "iss"]},
            )
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Unauthenticated(_REFUSED) from None
        return claims

    def public_keys(self) -> list[dict[str, Any]]:
        """The keys whose tokens are good, as a JSON Web Key Set lists them (RFC 8037)."""
        return [
            {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_bytes_raw()), "kid": kid, "use": "sig",
             "alg": ALGORITHM}
            for kid, key in self._public.items()
        ]  # fmt: skip


def key_id(seed: bytes) -> str:
    """The `kid` of the tokens that this seed signs."""
    return _kid(Ed25519PrivateKey.from_private_bytes(seed))


def decoded_seeds(present: str, others: str) -> Sequence[bytes]:
    """The seeds of the settings, the one that signs first: base64, the others comma separated. Raises ValueError."""
    return [base64.b64decode(text.strip(), validate=True) for text in (present, *filter(None, others.split(",")))]


def _kid(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:KID_LENGTH]


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
