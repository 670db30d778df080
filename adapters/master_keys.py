"""The master key and its predecessors: what wraps every other key that is stored.

A wrapped key begins with the id of the master key that wrapped it, so that several can be in use while one takes
the place of another. Those stored before ids existed have none and are tried with every key.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
ID_BYTES: Final = 8
NONCE_BYTES: Final = 12


class WrongMasterKey(Exception):
    """None of the master keys that were given has wrapped this key."""


class MasterKeys:
    """Wraps with the present key, unwraps with any. `keys` are 32 bytes each, the present one first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        assert keys, "at least the present key"
        assert all(len(key) == KEY_BYTES for key in keys)
        self._wrapping = {
            hmac.digest(key, b"id of this master key", "sha256")[:ID_BYTES]: AESGCM(
                hmac.digest(key, b"wrap person keys", "sha256")
            )
            for key in keys
        }
        self.present_id: Final = next(iter(self._wrapping))

    def wrap(self, key: bytes, owner: bytes) -> bytes:
        """The key, sealed; it opens only for the same owner."""
        nonce = os.urandom(NONCE_BYTES)
        return self.present_id + nonce + self._wrapping[self.present_id].encrypt(nonce, key, owner)

    def unwrap(self, wrapped: bytes, owner: bytes) -> bytes:
        """The key. Raises WrongMasterKey."""
        for cipher, sealed in self._candidates(wrapped):
            try:
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner)
            except InvalidTag:
                continue
        raise WrongMasterKey(
            "A stored key was wrapped by a master key that is not known: give the earlier one in"
            " KONTOR_PREVIOUS_MASTER_KEYS until `kontor keys rotate` has run."
        )

    def opens(self, wrapped: bytes, owner: bytes) -> bool:
        """Was the key wrapped by one of these?"""
        try:
            return bool(self.unwrap(wrapped, owner))
        except WrongMasterKey:
            return False

    def _candidates(self, wrapped: bytes) -> Iterator[tuple[AESGCM, bytes]]:
        known = self._wrapping.get(wrapped[:ID_BYTES])
        if known is not None:
            yield known, wrapped[ID_BYTES:]
        for cipher in self._wrapping.values():
            yield cipher, wrapped
