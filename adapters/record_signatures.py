"""Signatures of Kafka records: who may produce to a topic is not believed, who has the record key is.

The relay signs every record, and every reader (worker, relay, `kontor verify`) believes only what carries a valid
signature. Everything else counts as if it were not there: the chain sees the gap and reads the log.

The signature is HMAC-SHA256 over the installation's topic prefix, the context, the partition, the key, the value and
every header, each with its length, so that no two records have the same signed bytes. It stands in the last header,
`kontor-signature`, as `v1.KEY.MAC`: the id of the key, and the MAC in base64.
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from struct import Struct
from typing import Any, Final, Protocol

from adapters.wire import HEADER_NAMES, Linked, NotOurs, headers_of, key_of, parsed

SIGNATURE: Final = "kontor-signature"
SIGNED_NAMES: Final = (*HEADER_NAMES, SIGNATURE)
_SCHEME: Final = b"kontor record v1\n"
_VERSION: Final = b"v1."
_BLOCK_BYTES: Final = 64  # of SHA-256
_PLACE: Final = Struct(">III")  # lengths of prefix and context, and the partition
_LENGTHS: Final = Struct(f">{2 + len(HEADER_NAMES)}I")  # of key, value and the headers' values
_b64: Final = partial(b2a_base64, newline=False)


class Message(Protocol):
    """A record as aiokafka and Faust hand it on."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> Any: ...
    @property
    def value(self) -> Any: ...
    @property
    def headers(self) -> Any: ...


class _Key:
    """One key, with the states of HMAC that depend on it alone: a third of the time of `hmac.digest`."""

    def __init__(self, secret: bytes) -> None:
        key = hmac.digest(secret, b"sign kafka records", "sha256").ljust(_BLOCK_BYTES, b"\0")
        self.id: Final = hmac.digest(secret, b"id of this record key", "sha256")[:6].hex().encode()
        self.begins: Final = _VERSION + self.id + b"."
        self._inner = sha256(bytes(each ^ 0x36 for each in key))
        self._outer = sha256(bytes(each ^ 0x5C for each in key))

    def mac(self, signed: bytes) -> bytes:
        """HMAC-SHA256."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed)
        outer.update(inner.digest())
        return outer.digest()

    def signature(self, signed: bytes) -> bytes:
        """The header's value."""
        return self.begins + _b64(self.mac(signed))


class RecordSignatures:
    """Signs with the first key, believes each. `keys` are 32 bytes each; `prefix` is that of the topics."""

    def __init__(self, keys: Sequence[bytes], prefix: str) -> None:
        assert keys, "at least the present key"
        made = [_Key(key) for key in keys]
        self._present: Final = made[0]
        self._keys: Final = {key.begins: key for key in made}
        self._begins_bytes: Final = len(made[0].begins)
        self._prefix: Final = prefix
        self._places: dict[tuple[str, int], bytes] = {}

    def headers_of(self, linked: Linked) -> list[tuple[str, bytes]]:
        """The headers of the record, with its signature."""
        record = linked.record
        headers = headers_of(record, previous=linked.previous)
        values = [value for _, value in headers]
        signed = self._signed(record.context, record.shard, key_of(record), record.state, values)
        headers.append((SIGNATURE, self._present.signature(signed)))
        return headers

    def read(self, message: Message) -> Linked:
        """The record as the log had it when the relay sent it. Raises NotOurs for whatever the relay did not sign for
        this partition: what is forged, changed, cut, moved here from elsewhere, or older than signatures."""
        topic, partition, key, value = message.topic, message.partition, message.key, message.value
        try:
            context = self._context(topic)
            names, values = _columns(message.headers)
            if names != SIGNED_NAMES:
                raise NotOurs("it is not signed" if SIGNATURE not in names else "its headers are not the relay's")
            signature = values.pop()
            signing = self._keys.get(signature[: self._begins_bytes])
            if signing is None:
                raise NotOurs("it is signed with a key that is not known")
            signed = self._signed(context, partition, key or b"", value or b"", values)
            if not hmac.compare_digest(signing.signature(signed), signature):
                raise NotOurs("its signature is not that of these bytes in this partition")
            return parsed(context, partition, value, message.headers)
        except (NotOurs, TypeError, ValueError) as error:
            raise NotOurs(
                f"{topic}/{partition}@{message.offset} is not a record of the relay: {error}; what the log has in its"
                " place is read there"
            ) from error

    def _context(self, topic: str) -> str:
        if not topic.startswith(self._prefix):
            raise NotOurs("its topic has another prefix")
        return topic[len(self._prefix) :]

    def _signed(self, context: str, partition: int, key: bytes, value: bytes, values: Sequence[bytes]) -> bytes:
        place = self._places.get((context, partition)) or self._place(context, partition)
        lengths = _LENGTHS.pack(len(key), len(value), *map(len, values))
        return b"".join((place, lengths, key, value, *values))

    def _place(self, context: str, partition: int) -> bytes:
        prefix, topic = self._prefix.encode(), context.encode()
        place = _SCHEME + _PLACE.pack(len(prefix), len(topic), partition) + prefix + topic
        return self._places.setdefault((context, partition), place)


def _columns(headers: Iterable[tuple[str, bytes]] | None) -> tuple[tuple[str, ...], list[bytes]]:
    """Names and values, in order and with repetitions."""
    pairs = list(headers or ())
    return tuple([name for name, _ in pairs]), [value for _, value in pairs]
