"""What a reader of Kafka believes: records that the relay signed for their place, and nothing else."""

from __future__ import annotations

import hmac
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adapters.log import LogRecord
from adapters.record_signatures import SIGNATURE, RecordSignatures, _Key
from adapters.settings import Settings
from adapters.wire import Linked, NotOurs, headers_of, key_of, parsed
from adapters.wiring import record_signatures
from tests.adapters.test_mailer import SETTINGS

ROOT = Path(__file__).parents[2]
KEY, OTHER = os.urandom(32), os.urandom(32)
PREFIX = "kontor."
ORDER = UUID("0198c6f2-7a3b-7000-8000-00000000abcd")
RECORD = LogRecord(
    position=42,
    event_type="order.cancelled",
    schema_version=1,
    aggregate_id=ORDER,
    version=4,
    recorded_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
    actor="user:ada",
    command_id=UUID(int=1),
    correlation_id=UUID(int=2),
    causation_id=UUID(int=3),
    context="orders",
    shard=3,
    state=b'{"by":"ada","reason":"no"}',
)
LINKED = Linked(RECORD, 41)


@dataclass(frozen=True)
class Message:
    """A record as a consumer is given it."""

    topic: str = "kontor.orders"
    partition: int = 3
    offset: int = 7
    key: bytes | None = key_of(RECORD)
    value: bytes | None = RECORD.state
    headers: Any = ()

    def with_header(self, name: str, value: bytes) -> Message:
        return replace(self, headers=tuple((each, value if each == name else old) for each, old in self.headers))


def signatures(*keys: bytes, prefix: str = PREFIX) -> RecordSignatures:
    return RecordSignatures(keys or (KEY,), prefix)


SIGNED = Message(headers=tuple(signatures().headers_of(LINKED)))


def test_what_the_relay_signed_is_the_record_of_the_log() -> None:
    assert signatures().read(SIGNED) == LINKED


def test_the_mac_is_hmac_sha256() -> None:
    key = _Key(KEY)
    for size in (0, 1, 55, 64, 1000):
        data = os.urandom(size)
        assert key.mac(data) == hmac.digest(hmac.digest(KEY, b"sign kafka records", "sha256"), data, "sha256")


Forge = Callable[[Message], Message]
FORGERIES: dict[str, Forge] = {
    "unsigned": lambda m: replace(m, headers=m.headers[:-1]),
    "no headers": lambda m: replace(m, headers=()),
    "headers None": lambda m: replace(m, headers=None),
    "an empty signature": lambda m: m.with_header(SIGNATURE, b""),
    "a signature that is None": lambda m: m.with_header(SIGNATURE, None),  # type: ignore[arg-type]
    "a value of a header that is None": lambda m: m.with_header("ce_actor", None),  # type: ignore[arg-type]
    "a shorter signature": lambda m: m.with_header(SIGNATURE, dict(m.headers)[SIGNATURE][:-2]),
    "signed with another key": lambda m: replace(m, headers=tuple(signatures(OTHER).headers_of(LINKED))),
    "signed for other topics": lambda m: replace(m, headers=tuple(signatures(prefix="other.").headers_of(LINKED))),
    "another partition": lambda m: replace(m, partition=4),
    "another topic": lambda m: replace(m, topic="kontor.users"),
    "a topic of nobody": lambda m: replace(m, topic="orders"),
    "the value cut": lambda m: replace(m, value=m.value[:-1] if m.value else None),
    "the value empty": lambda m: replace(m, value=b""),
    "the value None": lambda m: replace(m, value=None),
    "another value": lambda m: replace(m, value=b'{"by":"eve"}'),
    "another key": lambda m: replace(m, key=b"key"),
    "no key": lambda m: replace(m, key=None),
    "a header cut": lambda m: replace(m, headers=m.headers[1:]),
    "headers in another order": lambda m: replace(m, headers=(m.headers[1], m.headers[0], *m.headers[2:])),
    "a header too many": lambda m: replace(m, headers=(*m.headers, ("x", b""))),
    "a header twice": lambda m: replace(m, headers=(m.headers[8], *m.headers)),
    "a header twice, the last another": lambda m: replace(m, headers=(*m.headers, ("ce_position", b"43"))),
    "the signature twice": lambda m: replace(m, headers=(*m.headers, m.headers[-1])),
    "bytes moved from one header to the next": lambda m: m.with_header("ce_position", b"424").with_header(
        "ce_sequence", b""
    ),
    "bytes moved from the key to the value": lambda m: replace(
        m, key=(m.key or b"")[:-1], value=b"d" + (m.value or b"")
    ),
    **{f"position {value!r}": lambda m, value=value: m.with_header("ce_position", value)  # type: ignore[misc]
       for value in (b"43", b"1152921504606846976", b"9223372036854775808", b"-1", b"4_2", b" 42", "４２".encode())},
    "another type": lambda m: m.with_header("ce_type", b"kontor.order.confirmed"),
    "a subject in braces": lambda m: m.with_header("ce_subject", f"{{{ORDER}}}".encode()),
    "another predecessor": lambda m: m.with_header("ce_previous", b"0"),
}  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_whatever_was_changed_is_not_believed(forge: Forge) -> None:
    forged = forge(SIGNED)
    assert forged != SIGNED
    with pytest.raises(NotOurs, match="is not a record of the relay"):
        signatures().read(forged)


def test_every_byte_counts() -> None:
    """Any byte of key, value, header or signature that is another one is noticed."""
    dice = random.Random(1)
    fields = [("key", None), ("value", None), *[("headers", place) for place in range(len(SIGNED.headers))]]
    for field, place in fields:
        for _ in range(8):
            before = getattr(SIGNED, field) if place is None else SIGNED.headers[place][1]
            at = dice.randrange(len(before))
            after = before[:at] + bytes([before[at] ^ 1 << dice.randrange(8)]) + before[at + 1 :]
            if place is None:
                forged = replace(SIGNED, **{field: after})
            else:
                headers = list(SIGNED.headers)
                headers[place] = (headers[place][0], after)
                forged = replace(SIGNED, headers=tuple(headers))
            with pytest.raises(NotOurs):
                signatures().read(forged)


def test_records_of_the_key_before_are_believed_until_it_is_taken_away() -> None:
    assert signatures(OTHER, KEY).read(SIGNED) == LINKED
    with pytest.raises(NotOurs, match="a key that is not known"):
        signatures(OTHER).read(SIGNED)


def test_a_signature_names_its_key() -> None:
    names = {dict(signatures(key).headers_of(LINKED))[SIGNATURE].split(b".")[1] for key in (KEY, OTHER)}
    assert len(names) == 2


@pytest.mark.parametrize(("position", "previous"), [(0, 0), (-1, 0), (2**63, 0), (42, 42), (42, 43), (42, -1)], ids=str)
def test_headers_that_no_log_can_have_are_not_read(position: int, previous: int) -> None:
    headers = headers_of(RECORD._replace(position=position), previous=previous)
    with pytest.raises(NotOurs):
        parsed("orders", 3, RECORD.state, headers)


def settings(**given: str) -> Settings:
    return Settings(**(SETTINGS | {"master_key": "bQ==", "topic_prefix": PREFIX} | given))


def test_without_a_record_key_one_is_derived_from_the_master_key() -> None:
    signed = replace(SIGNED, headers=tuple(record_signatures(settings()).headers_of(LINKED)))
    assert record_signatures(settings()).read(signed) == LINKED
    rotated = settings(master_key="bg==", previous_master_keys="bQ==")
    assert record_signatures(rotated).read(signed) == LINKED
    for other in (settings(master_key="bg=="), settings(record_key="cg==")):
        with pytest.raises(NotOurs):
            record_signatures(other).read(signed)


def test_the_record_key_is_rotated_by_naming_the_one_before() -> None:
    signed = replace(SIGNED, headers=tuple(record_signatures(settings(record_key="cg==")).headers_of(LINKED)))
    after = record_signatures(settings(record_key="cw==", previous_record_keys="cg==, dA=="))
    assert after.read(signed) == LINKED


def test_records_are_read_from_kafka_in_one_way_only() -> None:
    """Who reads a record without its signature believes whoever may produce. Contestants of benches read what they
    wrote themselves."""
    asking = [
        path.relative_to(ROOT).as_posix()
        for folder in ("adapters", "api", "cli", "commands", "domain", "projections", "streams")
        for path in (ROOT / folder).rglob("*.py")
        if "parsed(" in (text := path.read_text()) and "from adapters.wire import" in text and path.name != "wire.py"
    ]
    assert sorted(asking) == ["adapters/record_signatures.py", "cli/bench/quix.py", "cli/bench/unsigned.py"]
