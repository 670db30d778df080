"""Access tokens: short-lived, signed, and verified by any service that has the public keys.

EdDSA and nothing else, whatever a token's header says; `kid` picks among the keys we know and is never looked up
anywhere. One key signs. The others are those whose tokens are good as well: the next one, so that every process knows
it before the first signs with it, and the one before, until its last token has expired (ACCESS_TOKEN_S). A token whose
rights were taken away since is refused as well, see `adapters.void_tokens`.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.void_tokens import TOKEN_S_MAX, Claims, VoidTokens, unchecked
from domain.errors import Unauthenticated
from domain.users import Role

ACCESS_TOKEN_S: Final = TOKEN_S_MAX
ISSUER: Final = "kontor"
ALGORITHM: Final = "EdDSA"
TOKEN_LENGTH_MAX: Final = 4_096
KID_LENGTH: Final = 16
KNOWN_MAX: Final = 4_096  # about 4 MB; the signature of a token that is sent again is not verified again
_REFUSED: Final = "The access token is not valid or has expired; refresh it, or sign in again."
_VOID: Final = "The rights of this access token were taken away; refresh it, or sign in again."


class AccessTokens:
    """Signs with the first of the seeds (32 bytes each), verifies what any of them signed, unless it is void.

    Without a list of void tokens every token is good until it expires. A process that issues no tokens has no seeds: it
    verifies nothing and signs nothing."""

    def __init__(self, *seeds: bytes, void: VoidTokens | None = None) -> None:
        self.void = void
        keys = [Ed25519PrivateKey.from_private_bytes(each) for each in seeds]
        self._private = keys[0] if keys else None
        self._public = {_kid(key): key.public_key() for key in keys}
        self._known: OrderedDict[str, Claims] = OrderedDict()  # only what was good, the latest used last

    def issue(self, user_id: UUID, roles: Iterable[Role], session_id: UUID, *, now: datetime, version: int = 0) -> str:
        """A token good for ACCESS_TOKEN_S. `version` is that of the account from which the roles were read: the token
        is void as soon as a later version takes something away. Raises ValueError in a process without a key."""
        if self._private is None:
            raise ValueError("this process signs no access tokens: it was given no KONTOR_JWT_KEY")
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": str(user_id),
            "sid": str(session_id),
            "roles": [role.value for role in roles],
            "ver": version,
            "iat": now,
            "exp": now + timedelta(seconds=ACCESS_TOKEN_S),
        }
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": _kid(self._private)})

    def verify(self, token: str) -> Claims:
        """What the token says. Raises Unauthenticated for one that is not ours, has expired or is void, and
        TokensUnchecked while that is not known; at most one signature is checked, none of a token that was good before,
        and nothing above TOKEN_LENGTH_MAX is looked at."""
        claims = self._verified(token)
        self.require_good(claims)
        return claims

    def require_good(self, claims: Claims) -> None:
        """Raises Unauthenticated for claims that are void, TokensUnchecked while that is not known."""
        if self.void is None:
            return
        if not self.void.trusted:
            raise unchecked()
        if self.is_void(claims):
            raise Unauthenticated(_VOID)

    def is_void(self, claims: Claims) -> bool:
        """Were the rights of these claims taken away, as far as is known?"""
        return self.void is not None and self.void.is_void(claims)

    def _verified(self, token: str) -> Claims:
        known = self._known.get(token)
        if known is not None and time.time() < known.expires_at:
            self._known.move_to_end(token)
            return known
        said = self._checked(token)
        try:
            roles = tuple(Role(role) for role in said["roles"])
            # Tokens of earlier releases name no version: whatever was taken away since is taken from them.
            version = int(said.get("ver", 0))
            claims = Claims(UUID(said["sub"]), roles, UUID(said["sid"]), version, float(said["exp"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unauthenticated(_REFUSED) from None
        self._known[token] = claims
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return claims

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
    """The seeds of the settings, the one that signs first: base64, the others comma separated; none without one
    that signs. Raises ValueError."""
    if not present:
        return []
    return [base64.b64decode(text.strip(), validate=True) for text in (present, *filter(None, others.split(",")))]


def _kid(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:KID_LENGTH]


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
