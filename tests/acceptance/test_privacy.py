"""Erasing a person on the running system: afterwards nobody finds a byte of the name or the address."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import psycopg
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition

from adapters.mfa import STEP_S, code_at
from adapters.wiring import open_kontor
from domain.identity import SHARDS
from domain.users import User
from tests.adapters.test_event_store import append_of
from tests.api.test_road_of_one_order import PLACE, RECEIVE, Client, order_of, settled
from tests.conftest import Stack
from tests.given import NOW

pytestmark = pytest.mark.acceptance
PASSWORD = "correct horse battery staple"
KEYS_AT_ONCE = 500
READ_BY = {b"string": "GET", b"hash": "HGETALL"}
REGISTER = "mutation($i: RegisterUserInput!) { registerUser(input: $i) { ok userErrors { code } } }"
ERASE = """mutation($id: ID!, $p: String, $c: String) {
  eraseUser(userId: $id, currentPassword: $p, mfaCode: $c) { ok receipt { token } userErrors { message } } }"""
PROFILE = """mutation($n: String, $e: String, $p: String, $c: String) {
  updateProfile(name: $n, email: $e, currentPassword: $p, mfaCode: $c) { ok userErrors { message } } }"""
SIGN_IN = (
    "mutation($i: SignInInput!) { signIn(input: $i) { ok userErrors { code } tokens { accessToken refreshToken }"
    " user { id } } }"
)
ENABLE = "mutation($p: String) { enableMfa(currentPassword: $p) { ok provisioningUri recoveryCodes } }"
CONFIRM = "mutation($c: String!) { confirmMfa(code: $c) { ok userErrors { message } } }"
ADD = "mutation($i: AddProductInput!) { addProduct(input: $i) { ok } }"
USER = "query($id: ID!, $t: ConsistencyToken) { user(id: $id, consistentWith: $t) { email name roles mfaEnabled } }"


async def in_tables(url: str, needles: list[str]) -> list[str]:
    """The tables with a live row that holds one of these."""
    found = []
    async with await psycopg.AsyncConnection.connect(url) as connection:
        tables = await (
            await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).fetchall()
        for (table,) in tables:
            rows = await connection.execute(f'SELECT t::text, t FROM "{table}" t'.encode())
            async for text, _ in rows:
                # bytea shows as hexadecimal digits.
                if any(needle in text or needle.encode().hex() in text for needle in needles):
                    found.append(table)
    return sorted(set(found))


async def in_redis(url: str, needles: list[str]) -> list[str]:
    """The keys that hold one of these, as they are stored or as they are read."""
    found = []
    async with redis.asyncio.from_url(url) as client:
        keys = [key async for key in client.scan_iter()]
        for some in (keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)):
            held = await _asked(client, [("DUMP", key) for key in some])
            kinds = await _asked(client, [("TYPE", key) for key in some])
            reads = [(READ_BY[kind], key) for key, kind in zip(some, kinds, strict=True) if kind in READ_BY]
            shown = dict(zip([key for _, key in reads], await _asked(client, reads), strict=True))
            for key, stored in zip(some, held, strict=True):
                whole, text = key + (stored or b""), str(shown.get(key, ""))
                if any(needle.encode() in whole or needle in text for needle in needles):
                    found.append(key.decode())
    return found


async def _asked(client: redis.asyncio.Redis, commands: list[tuple[str, bytes]]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute())


async def in_kafka(url: str, needles: list[str]) -> list[str]:
    """The topics with a record that holds one of these."""
    consumer = AIOKafkaConsumer(bootstrap_servers=url, enable_auto_commit=False)
    await consumer.start()
    found = set()
    try:
        topics = [each for each in await consumer.topics() if not each.startswith("__")]
        partitions = [TopicPartition(topic, shard) for topic in topics for shard in range(SHARDS)]
        ends = {each: end for each, end in (await consumer.end_offsets(partitions)).items() if end}
        consumer.assign(list(ends))
        await consumer.seek_to_beginning()
        while behind := [each for each, end in ends.items() if await consumer.position(each) < end]:
            for partition, records in (await consumer.getmany(*behind, timeout_ms=1000)).items():
                for record in records:
                    whole = (record.value or b"") + (record.key or b"") + repr(record.headers).encode()
                    if any(needle.encode() in whole for needle in needles):
                        found.add(partition.topic)
    finally:
        await consumer.stop()
    return sorted(found)


async def key_is_destroyed(url: str, user_id: str) -> bool:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (
            await connection.execute("SELECT wrapped_key IS NULL FROM person_keys WHERE person_id = %s", [user_id])
        ).fetchone()
    return bool(rows and rows[0])


async def in_logs(stack: Stack, needles: list[str]) -> list[str]:
    """The logs, of our processes and of the servers, that hold one of these."""
    texts = {log.name: log.read_text(errors="replace") for log in (stack.home / "logs").glob("*.log")}
    assert {"api.log", "relay.log", "worker.log"} <= texts.keys()
    return [name for name, text in texts.items() if any(needle in text for needle in needles)]


async def anywhere(stack: Stack, needles: list[str]) -> list[str]:
    """Every place where one of these is found."""
    status = stack.status
    return [
        *await in_tables(status["postgres_url"], needles),
        *await in_redis(status["redis_url"], needles),
        *await in_kafka(status["kafka_url"], needles),
        *await in_logs(stack, needles),
    ]


async def password_hash(url: str, user_id: str) -> str:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (
            await connection.execute("SELECT password_hash FROM credentials WHERE user_id = %s", [user_id])
        ).fetchone()
    assert row is not None
    return str(row[0])


async def ordered_something(stack: Stack, anyone: Client, person: Client) -> None:
    """One order of the person's, all the way through."""
    staff, sku = await anyone.signed_in(**stack.status["logins"]["staff"]), f"SKU-{uuid.uuid4().hex[:10]}"
    thing = {"sku": sku, "name": "Thing", "price": {"amount": "2.55", "currency": "GBP"}}
    assert (await staff(ADD, i=thing))["addProduct"]["ok"]
    assert (await staff(RECEIVE, input={"sku": sku, "quantity": 5}))["receiveStock"]["ok"]
    placed = (await person(PLACE, input=order_of(sku)))["placeOrder"]
    assert (await settled(person, placed["order"]["id"]))["status"] == "CONFIRMED"


async def second_factor(person: Client) -> tuple[bytes, list[str]]:
    """Set up and confirmed: the secret, and what of it must be nowhere in clear."""
    enabled = (await person(ENABLE, p=PASSWORD))["enableMfa"]
    key = parse_qs(urlsplit(enabled["provisioningUri"]).query)["secret"][0]
    secret = base64.b32decode(key)
    code = code_at(secret, int(time.time()) // STEP_S)
    assert (await person(CONFIRM, c=code))["confirmMfa"]["ok"]
    return secret, [key, secret.hex(), base64.b64encode(secret).decode(), *enabled["recoveryCodes"]]


async def test_after_erasing_nothing_personal_is_left_anywhere(stack: Stack) -> None:
    mark = uuid.uuid4().hex[:10]
    names, emails = (
        [f"Zebulon {mark}", f"Quirinus {mark}"],
        [f"zeb.{mark}@person.example", f"qui.{mark}@person.example"],
    )
    status = stack.status
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        anyone = Client(http, status["http_url"])
        await anyone(REGISTER, i={"email": emails[0], "name": names[0], "password": PASSWORD})
        await anyone(SIGN_IN, i={"email": emails[0], "password": "wrong password!"})
        signed_in = (await anyone(SIGN_IN, i={"email": emails[0], "password": PASSWORD}))["signIn"]
        user_id = signed_in["user"]["id"]
        person = Client(http, status["http_url"], signed_in["tokens"]["accessToken"])
        await ordered_something(stack, anyone, person)
        assert (await person(PROFILE, n=names[1], e=emails[1], p=PASSWORD))["updateProfile"]["ok"]
        assert (await person(USER, id=user_id))["user"]["name"] in names
        again = await anyone(REGISTER, i={"email": emails[0], "name": names[1], "password": PASSWORD})
        assert again["registerUser"] == {"ok": True, "userErrors": []}

        # What is secret is nowhere in clear as long as the account lives, and a password's hash only in its own table.
        hashed = await password_hash(status["postgres_url"], user_id)
        _, factors = await second_factor(person)
        secrets = [PASSWORD, signed_in["tokens"]["refreshToken"], signed_in["tokens"]["accessToken"], *factors]
        assert await anywhere(stack, [*names, *emails, mark, *secrets]) == []
        assert await anywhere(stack, [hashed]) == ["credentials"]

        erased = (await person(ERASE, id=user_id, p=PASSWORD, c=factors[-1]))["eraseUser"]
        assert erased["ok"], erased
        admin = await anyone.signed_in(**status["logins"]["admin"])
        seen = (await admin(USER, id=user_id, t=erased["receipt"]["token"]))["user"]
        assert seen == {"email": "(erased)", "name": "(erased)", "roles": [], "mfaEnabled": False}
        again = await anyone(SIGN_IN, i={"email": emails[0], "password": PASSWORD})
        assert again["signIn"]["userErrors"][0]["code"] == "BAD_CREDENTIALS"

        assert await key_is_destroyed(status["postgres_url"], user_id)
        assert await anywhere(stack, [*names, *emails, mark, hashed, *secrets]) == []

        anew = {"email": emails[0], "password": PASSWORD}
        assert (await anyone(REGISTER, i=anew | {"name": "Another"}))["registerUser"]["ok"]
        assert (await anyone(SIGN_IN, i=anew))["signIn"]["ok"]
    stack.run("verify", timeout_s=200)


async def test_the_search_finds_what_is_there(stack: Stack) -> None:
    status, tea = stack.status, ["Earl Grey"]
    assert {"events", "catalogue_v1"} <= set(await in_tables(status["postgres_url"], tea))
    assert await in_redis(status["redis_url"], tea) != []
    assert await in_kafka(status["kafka_url"], tea) == ["kontor.catalogue"]


async def test_what_the_command_could_not_destroy_the_worker_does(stack: Stack) -> None:
    """As if the process had died between the event and the destruction."""
    given = json.dumps({"email": f"{uuid.uuid4().hex}@person.example", "name": "Zebulon", "password": None})
    user_id = json.loads(stack.run("command", "register-user", "--json", given).stdout)["aggregateId"]
    settings = stack.settings

    async with open_kontor(settings, name="test") as kontor:
        user: Any = (await kontor.store.load([uuid.UUID(user_id)]))[uuid.UUID(user_id)][0]
        assert isinstance(user, User)
        user.erase(by="user:test", now=NOW)
        await kontor.store.append(append_of(user))  # type: ignore[arg-type]  # any aggregate will do
    give_up_at = time.monotonic() + 120
    while not await key_is_destroyed(settings.postgres_url, user_id):
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.1)
