"""Sealed personal data: only with the person's key, only for the person, and never again once the key is destroyed."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import re
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.sql import SQL

from adapters.master_keys import MasterKeys, WrongMasterKey
from adapters.personal_data import ROTATED_A_BATCH, PersonalDataBox
from adapters.webhook_secrets import PREVIOUS_GOOD, WebhookSecretTable
from adapters.wiring import Kontor
from domain.disclosure import PersonalField
from domain.errors import IllegalTransition
from tests.erasing import erased_in_the_log
from tests.given import NOW

EMAIL, NAME = PersonalField.USER_EMAIL, PersonalField.USER_NAME
OLD, NEW, OTHER = os.urandom(32), os.urandom(32), os.urandom(32)


def test_a_wrapped_key_opens_with_any_known_master_key_and_only_for_its_owner() -> None:
    wrapped = MasterKeys([OLD]).wrap(b"key", b"ada", table="t")
    assert MasterKeys([NEW, OLD]).unwrap(wrapped, b"ada", table="t") == b"key"
    for keys, owner, table in (([NEW, OLD], b"bob", "t"), ([NEW], b"ada", "t"), ([NEW, OLD], b"ada", "u")):
        with pytest.raises(WrongMasterKey):
            MasterKeys(keys).unwrap(wrapped, owner, table=table)


def wrapped_before(master: bytes, key: bytes, owner: bytes) -> bytes:
    """As it was stored before the table was bound."""
    nonce, begin = os.urandom(12), hmac.digest(master, b"id of this master key", "sha256")[:8]
    return begin + nonce + AESGCM(hmac.digest(master, b"wrap person keys", "sha256")).encrypt(nonce, key, owner)


def test_a_key_that_was_bound_to_its_owner_alone_still_opens_and_passes_for_no_other() -> None:
    before = wrapped_before(OLD, b"key", b"ada")
    assert MasterKeys([NEW, OLD]).unwrap(before, b"ada", table="t") == b"key"
    now = MasterKeys([OLD]).wrap(b"key", b"ada", table="t")
    with pytest.raises(WrongMasterKey):  # what is bound to its table is not taken without it
        MasterKeys([OLD]).unwrap(before[:8] + now[8:], b"ada", table="t")


def test_a_key_wrapped_before_master_keys_had_ids_still_opens() -> None:
    without_id = wrapped_before(OLD, b"key", b"ada")[8:]
    assert MasterKeys([NEW, OLD]).unwrap(without_id, b"ada", table="t") == b"key"


async def box(kontor: Kontor, *keys: bytes) -> PersonalDataBox:
    opened = PersonalDataBox(kontor.pool, keys)
    await opened.prepare()
    return opened


@pytest.fixture
async def empty(kontor: Kontor) -> Kontor:
    """An installation that has no keys yet."""
    await kontor.reads.fetch(SQL("DELETE FROM stable_keys RETURNING 1"), [])
    return kontor


@pytest.mark.servers
async def test_what_is_sealed_opens_for_its_person_alone(empty: Kontor) -> None:
    sealing, ada, bob = await box(empty, OLD), uuid4(), uuid4()
    email, name = await sealing.seal(ada, (EMAIL, "ada@example.com"), (NAME, "Ada"))
    await sealing.seal(bob, (NAME, "x"))
    assert await sealing.open([(ada, EMAIL, email), (ada, NAME, name)]) == ["ada@example.com", "Ada"]
    elsewhere = [(bob, EMAIL, email), (ada, EMAIL, name), (ada, PersonalField.ORDER_REASON, name)]
    assert await sealing.open(elsewhere) == [None, None, None]
    nonsense = ["nonsense", "s2.", "s2.!", "s2.AAAA", "s3." + name[3:], "s1." + name[3:]]
    assert await sealing.open((ada, NAME, token) for token in nonsense) == [None] * len(nonsense)


@pytest.mark.servers
async def test_a_token_of_the_first_scheme_is_read_where_there_were_some_and_passes_for_no_other(empty: Kontor) -> None:
    sealing, ada = await box(empty, OLD), uuid4()
    await sealing.seal(ada, (NAME, "Ada"))
    ((wrapped,),) = await empty.reads.fetch(SQL("SELECT wrapped_key FROM person_keys WHERE person_id = %s"), [ada])
    key, nonce = AESGCM(MasterKeys([OLD]).unwrap(bytes(wrapped), ada.bytes, table="person_keys")), os.urandom(12)
    text = base64.b64encode(nonce + key.encrypt(nonce, b"Ada", ada.bytes)).decode()
    assert await sealing.open([(ada, NAME, "s1." + text)]) == ["Ada"]
    assert (
        await sealing.open([(ada, NAME, "s2." + text), (ada, PersonalField.ORDER_REASON, "s1." + text)]) == [None] * 2
    )


@pytest.mark.servers
async def test_after_a_rotation_the_old_master_key_is_not_needed(empty: Kontor) -> None:
    before = await box(empty, OLD)
    people = [uuid4() for _ in range(ROTATED_A_BATCH + 3)]
    tokens = [(await before.seal(person, (NAME, "secret")))[0] for person in people]
    both = await box(empty, NEW, OLD)
    assert await both.rotate() == len(people) + 3  # and the three stable keys
    assert await both.rotate() == 0
    after = await box(empty, NEW)
    assert await after.open((person, NAME, token) for person, token in zip(people, tokens, strict=True)) == [
        "secret"
    ] * len(people)
    assert after.digest("ada@example.com") == before.digest("ada@example.com")
    assert after.request_digest_key == before.request_digest_key
    with pytest.raises(WrongMasterKey):
        await box(empty, OLD)


@pytest.mark.servers
async def test_a_wrong_master_key_is_told_and_changes_nothing(empty: Kontor) -> None:
    sealing, ada = await box(empty, OLD), uuid4()
    (token,) = await sealing.seal(ada, (NAME, "Ada"))
    with pytest.raises(WrongMasterKey, match="KONTOR_PREVIOUS_MASTER_KEYS"):
        await box(empty, OTHER)
    assert await sealing.open([(ada, NAME, token)]) == ["Ada"]


@pytest.mark.servers
async def test_an_installation_of_before_the_stable_keys_keeps_its_digests(empty: Kontor) -> None:
    """The digests of the master key that wrapped what is there, wherever it stands among those given."""
    before = await box(empty, OLD)
    await before.seal(uuid4(), (NAME, "Ada"))
    await empty.reads.fetch(SQL("DELETE FROM stable_keys RETURNING 1"), [])
    with pytest.raises(WrongMasterKey):
        await box(empty, OTHER)
    assert await empty.reads.fetch(SQL("SELECT name FROM stable_keys"), []) == []
    after = await box(empty, NEW, OLD, OTHER)
    assert after.digest("ada@example.com") == before.digest("ada@example.com")
    assert after.request_digest_key == before.request_digest_key


@pytest.mark.servers
async def test_of_many_first_starts_all_use_the_same_digests(empty: Kontor) -> None:
    boxes = await asyncio.gather(*(box(empty, key) for key in [OLD] * 6))
    assert len({each.digest("x") for each in boxes}) == len({each.request_digest_key for each in boxes}) == 1


@pytest.mark.servers
async def test_a_destroyed_key_is_never_made_again(empty: Kontor) -> None:
    sealing, ada, nobody = await box(empty, OLD), uuid4(), uuid4()
    (token,) = await sealing.seal(ada, (NAME, "Ada"))
    await erased_in_the_log(empty.store, ada, nobody)
    for person in (ada, ada, nobody):  # twice, and one who never had a key
        await sealing.destroy(person)
    for person in (ada, nobody):
        with pytest.raises(IllegalTransition, match="ERASED"):
            await sealing.seal(person, (NAME, "Ada again"))
    assert await sealing.open([(ada, NAME, token)]) == [None]
    assert await sealing.rotate() == 0


@pytest.mark.servers
async def test_a_key_is_destroyed_only_when_the_log_has_the_erasure(empty: Kontor) -> None:
    sealing, ada, grace = await box(empty, OLD), uuid4(), uuid4()
    (token,) = await sealing.seal(ada, (NAME, "Ada"))
    await erased_in_the_log(empty.store, grace)
    await sealing.destroy(ada)
    async with empty.followers.begin("erasure", "users", [0]) as transaction:
        await transaction.erase(ada)
    assert await sealing.open([(ada, NAME, token)]) == ["Ada"]
    assert await sealing.seal(ada, (NAME, "Ada again"))


@pytest.mark.servers
async def test_a_key_destroyed_during_a_rotation_stays_destroyed(empty: Kontor) -> None:
    sealing = await box(empty, OLD)
    people = [uuid4() for _ in range(50)]
    for person in people:
        await sealing.seal(person, (NAME, "x"))
    await erased_in_the_log(empty.store, *people)
    both = await box(empty, NEW, OLD)
    await asyncio.gather(both.rotate(), *(sealing.destroy(person) for person in people))
    rows = await empty.reads.fetch(SQL("SELECT person_id FROM person_keys WHERE wrapped_key IS NOT NULL"), [])
    assert rows == []


@pytest.mark.servers
async def test_two_first_uses_at_once_use_one_key(empty: Kontor) -> None:
    sealing, ada = await box(empty, OLD), UUID(int=7)
    sealed = await asyncio.gather(*(sealing.seal(ada, (NAME, str(n))) for n in range(10)))
    assert await sealing.open([(ada, NAME, token) for (token,) in sealed]) == [str(n) for n in range(10)]


@pytest.mark.servers
async def test_secrets_of_webhooks_are_wrapped_rotated_and_good_for_a_day_after_their_successor(empty: Kontor) -> None:
    endpoint, before = uuid4(), WebhookSecretTable(empty.pool, MasterKeys([OLD]))
    first, second = before.make(), before.make()
    for secret in (first, second):
        await before.keep(endpoint, secret, now=NOW)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", first)
    await (await box(empty, NEW, OLD)).rotate()
    after = WebhookSecretTable(empty.pool, MasterKeys([NEW]))
    assert await after.current(endpoint, now=NOW) == [second, first]
    assert await after.current(endpoint, now=NOW + PREVIOUS_GOOD) == [second]
    await after.destroy(endpoint)
    assert await after.current(endpoint, now=NOW) == []
