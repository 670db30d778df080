"""The master key and its predecessors: what wraps every other key that is stored.

A wrapped key begins with the id of the master key that wrapped it, so that several can be in use while one takes
the place of another. The id also says that the key is bound to its table and owner. Those stored before that begin with
another id, or with none, and are bound to their owner alone; `kontor keys rotate` binds them.
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
        ciphers = [AESGCM(hmac.digest(key, b"wrap person keys", "sha256")) for key in keys]
        self._wrapping = dict(
            zip((_id_of(key, b"id of this master key, with table") for key in keys), ciphers, strict=True)
        )
        self._wrapped_before = dict(zip((_id_of(key, b"id of this master key") for key in keys), ciphers, strict=True))
        self.present_id: Final = next(iter(self._wrapping))

    def wrap(self, key: bytes, owner: bytes, *, table: str) -> bytes:
        """The key, sealed; it opens only for the same owner in the same table."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._wrapping[self.present_id].encrypt(nonce, key, _bound_to(table, owner))
        return self.present_id + nonce + sealed

    def unwrap(self, wrapped: bytes, owner: bytes, *, table: str) -> bytes:
        """The key. Raises WrongMasterKey."""
        for cipher, sealed, bound_to in self._candidates(wrapped, owner, table):
            try:
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
            except InvalidTag:
                continue
        raise WrongMasterKey(
            "A stored key was wrapped by a master key that is not known: give the earlier one in"
            " KONTOR_PREVIOUS_MASTER_KEYS until `kontor keys rotate` has run."
        )

    def opens(self, wrapped: bytes, owner: bytes, *, table: str) -> bool:
        """Was the key wrapped by one of these?"""
        try:
            return bool(self.unwrap(wrapped, owner, table=table))
        except WrongMasterKey:
            return False

    def _candidates(self, wrapped: bytes, owner: bytes, table: str) -> Iterator[tuple[AESGCM, bytes, bytes]]:
        begin, rest = wrapped[:ID_BYTES], wrapped[ID_BYTES:]
        if begin in self._wrapping:
            yield self._wrapping[begin], rest, _bound_to(table, owner)
        if begin in self._wrapped_before:
            yield self._wrapped_before[begin], rest, owner
        for cipher in self._wrapping.values():
            yield cipher, wrapped, owner


def _id_of(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")[:ID_BYTES]


def _bound_to(table: str, owner: bytes) -> bytes:
    return b"|".join((b"w2", table.encode(), owner))
