"""Idempotency keys: the id of the command that a caller's key stands for."""

from __future__ import annotations

import hmac
import json
from typing import Final
from uuid import UUID, uuid5

from domain.errors import Invalid
from domain.identity import NAMESPACE

KEY_LENGTH_MAX: Final = 255


def command_id_of(actor: str, command: str, key: str) -> UUID:
    """Of a caller with a name of their own. Raises Invalid for a key of no or too many characters."""
    return uuid5(NAMESPACE, json.dumps([actor, command, _valid(key)]))


def anonymous_command_id(command: str, key: str, *, address: str, digest: bytes, digest_key: bytes) -> UUID:
    """Of a caller whose name all anonymous callers have: a key is theirs by the address and by what they ask, so nobody
    else learns what became of it, or takes it. Raises Invalid as `command_id_of` does."""
    asked = json.dumps([command, _valid(key), address, digest.hex()])
    return uuid5(NAMESPACE, hmac.digest(digest_key, asked.encode(), "sha256").hex())


def _valid(key: str) -> str:
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise Invalid(
            f"the idempotency key has {len(key)} characters; give 1 to {KEY_LENGTH_MAX}.",
            field=("idempotencyKey",),
        )
    return key
