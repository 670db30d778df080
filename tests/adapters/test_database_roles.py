"""The roles of the database: the parts of Kontor work with them, and may do nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from psycopg.sql import SQL, Identifier, Literal

from adapters.database_roles import Login, RolesRefused, grant
from adapters.hash_chain import HashChain
from adapters.relay_store import PostgresRelayStore
from adapters.settings import Settings
from adapters.table_grants import ANALYST, API, PARTS, RELAY, WORKER
from adapters.wiring import Kontor, open_kontor
from commands.catalogue import AddProduct
from commands.handling import ANONYMOUS, Actor
from commands.users import EraseUser, RegisterUser
from domain.money import Money
from projections.catalogue import CATALOGUE
from tests.conftest import Stack

pytestmark = pytest.mark.servers

PASSWORD = "correct horse battery staple"
READ_THE_LOG = (API, WORKER, RELAY)


@dataclass(frozen=True)
class Installed:
    """An installation whose parts have roles: the owner's settings, and a URL for each part."""

    settings: Settings
    urls: dict[str, str]

    def as_part(self, part: str) -> Settings:
        return self.settings.model_copy(update={"postgres_url": self.urls[part]})

    async def does(self, part: str, statement: str) -> list[Any]:
        """What the statement gives when that part executes it."""
        async with await psycopg.AsyncConnection.connect(self.urls[part], autocommit=True) as connection:
            cursor = await connection.execute(statement.encode())
            return await cursor.fetchall() if cursor.description else []


@pytest.fixture
async def installed(kontor: Kontor) -> AsyncIterator[Installed]:
    settings, run = kontor.settings, uuid.uuid4().hex[:8]
    urls = {
        part: make_conninfo(settings.postgres_url, user=f"t{run}_{part}", password=f"secret-{part}-{run}")
        for part in PARTS
    }
    logins = [Login.of(part, url) for part, url in urls.items()]
    await grant(settings.postgres_url, logins)
    await kontor.pipeline.execute(AddProduct(sku="A", name="x", price=Money(100, "GBP")), actor=Actor.system("test"))
    yield Installed(settings, urls)
    async with await psycopg.AsyncConnection.connect(settings.postgres_url, autocommit=True) as admin:
        for login in logins:
            await admin.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(login.role)))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET actor = 'x'",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "ALTER TABLE {} ADD COLUMN x int",
        "DROP TABLE {}",
        "CREATE RULE r AS ON INSERT TO {} DO INSTEAD NOTHING",
        "CREATE TRIGGER t BEFORE INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "GRANT UPDATE ON {} TO PUBLIC",
        "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    ],
)
async def test_no_part_changes_the_log(installed: Installed, statement: str) -> None:
    for part in PARTS:
        for table in ("events", "commands", "hash_chain"):
            text = statement.format(table).replace("actor", "hash" if table == "hash_chain" else "actor")
            if statement.startswith("GRANT") and part != ANALYST:
                # Without the right to grant it is a warning, and nothing is granted.
                await granting_nothing(installed, part, text)
                continue
            with pytest.raises((InsufficientPrivilege, ReadOnlySqlTransaction)):
                await installed.does(part, "SET default_transaction_read_only = off; " + text)


async def granting_nothing(installed: Installed, part: str, text: str) -> None:
    try:
        await installed.does(part, text)
    except InsufficientPrivilege:
        return
    everybody = (
        "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relname IN ('events', 'commands') AND grantee = 0"
    )
    assert await installed.does(part, everybody) == [(0,)]


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        (RELAY, "INSERT INTO events SELECT * FROM events"),
        (RELAY, "SELECT * FROM credentials"),
        (RELAY, "SELECT * FROM person_keys"),
        (RELAY, "SELECT * FROM sessions"),
        (RELAY, "SELECT * FROM account_tokens"),
        (RELAY, "SELECT * FROM webhook_secrets"),
        (RELAY, "SELECT * FROM users_v1"),
        (WORKER, "SELECT password_hash FROM credentials"),
        (WORKER, "UPDATE credentials SET password_hash = 'x'"),
        (WORKER, "SELECT secret_sealed FROM mfa"),
        (WORKER, "INSERT INTO hash_chain SELECT * FROM hash_chain"),
        (API, "INSERT INTO hash_chain SELECT * FROM hash_chain"),
        (API, "UPDATE stock_v1 SET on_hand = 1000000"),
        (API, "UPDATE view_positions SET position = 0"),
        (API, "UPDATE relay_checkpoint SET position = 0"),
        (API, "SELECT setval('events_notification_id_seq', 1)"),
        (API, "CREATE TABLE x (id int)"),
        (API, "CREATE TEMPORARY TABLE events (id int)"),
        (API, "CREATE FUNCTION x() RETURNS int LANGUAGE sql RETURN 1"),
        (API, "CREATE SCHEMA x"),
        (API, "SET session_replication_role = replica"),
        (API, "COPY events TO PROGRAM 'true'"),
        (ANALYST, "SELECT * FROM events"),
        (ANALYST, "SELECT * FROM commands"),
        (ANALYST, "SELECT * FROM event_log"),
        (ANALYST, "SELECT * FROM users_v1"),
        (ANALYST, "SELECT * FROM hash_chain"),
        (ANALYST, "SELECT pg_advisory_lock(7310110114111)"),
        (ANALYST, "SELECT pg_try_advisory_xact_lock(7310110114111)"),
        (ANALYST, "SELECT nextval('order_numbers')"),
    ],
)
async def test_a_part_has_no_right_that_it_does_not_need(installed: Installed, part: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        await installed.does(part, "SET default_transaction_read_only = off; " + statement)


async def test_an_analyst_reads_business_events_alone(installed: Installed, kontor: Kontor) -> None:
    await kontor.pipeline.execute(RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD), actor=ANONYMOUS)
    everything = {kind for (kind,) in await kontor.reads.fetch(SQL("SELECT event_type FROM event_log"), [])}
    assert "user.registered" in everything
    seen = await installed.does(ANALYST, "SELECT event_type, data->>'sku' FROM business_event_log ORDER BY position")
    assert ("product.added", "A") in seen
    assert {kind.partition(".")[0] for kind, _ in seen} <= {"product", "stock", "stock_item"}
    limits = await installed.does(
        ANALYST, "SELECT current_setting('statement_timeout'), current_setting('default_transaction_read_only')"
    )
    assert limits == [("30s", "on")]


async def test_the_api_works_with_its_role(installed: Installed, kontor: Kontor) -> None:
    async with open_kontor(installed.as_part(API), name="api") as api:
        made = await api.pipeline.execute(
            RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD), actor=Actor.system("test")
        )
        await api.pipeline.execute(
            EraseUser(user_id=made.aggregate_id, current_password=PASSWORD), actor=Actor.system("test")
        )
        assert await api.reads.by_id(CATALOGUE, []) == {}
    assert await kontor.log.end() > 1


async def test_the_relay_works_with_its_role(installed: Installed) -> None:
    async with open_kontor(installed.as_part(RELAY), name="relay") as relay:
        async with PostgresRelayStore(installed.urls[RELAY], relay.log).lead() as leadership:
            assert leadership.published.position == 0
        assert await relay.hash_chain.extend() is not None
        assert await HashChain(relay.pool, relay.personal_data.hash_chain_key).end() == await relay.log.end()


async def test_a_new_generation_of_a_view_is_for_those_who_use_the_view(installed: Installed, kontor: Kontor) -> None:
    made = await kontor.reads.generations.begin(CATALOGUE)
    for _ in range(2):  # also after the next migration
        await installed.does(WORKER, f"DELETE FROM {made.table}")
        await installed.does(API, f"SELECT FROM {made.table}")
        with pytest.raises(InsufficientPrivilege):
            await installed.does(ANALYST, f"SELECT FROM {made.table}")
        await grant(kontor.settings.postgres_url, [])


async def test_granting_again_takes_away_what_is_not_listed(installed: Installed, kontor: Kontor) -> None:
    role = Login.of(API, installed.urls[API]).role
    async with kontor.pool.connection() as connection:
        await connection.execute(SQL("GRANT UPDATE ON events TO {}, PUBLIC").format(Identifier(role)))
    assert role in await grant(kontor.settings.postgres_url, [])  # it was named once
    with pytest.raises(InsufficientPrivilege):
        await installed.does(API, "UPDATE events SET actor = 'x'")
    assert await installed.does(API, "SELECT count(*) FROM events") != [(0,)]


async def test_another_password_counts_from_the_next_migration_on(installed: Installed) -> None:
    changed = make_conninfo(installed.urls[API], password="another one")
    await asyncio.gather(*(grant(installed.settings.postgres_url, [Login.of(API, changed)]) for _ in range(3)))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await installed.does(API, "SELECT 1")
    assert await Installed(installed.settings, {API: changed}).does(API, "SELECT 1") == [(1,)]


async def test_a_role_that_may_do_more_is_refused(kontor: Kontor) -> None:
    url = kontor.settings.postgres_url
    with pytest.raises(RolesRefused, match=r"KONTOR_POSTGRES_API_URL names the role kontor, which owns the tables"):
        await grant(url, [Login.of(API, url)])
    with pytest.raises(RolesRefused, match="names no user"):
        Login.of(API, "postgresql://127.0.0.1/kontor")


async def test_who_may_not_make_roles_is_told_what_an_administrator_has_to_run(kontor: Kontor) -> None:
    url, name = kontor.settings.postgres_url, f"t{uuid.uuid4().hex[:8]}"
    async with kontor.pool.connection() as admin:
        await admin.execute(
            SQL("CREATE ROLE {} LOGIN PASSWORD {}; GRANT SELECT, INSERT ON database_roles TO {}").format(
                Identifier(name), Literal(name), Identifier(name)
            )
        )
        try:
            wanted = Login.of(ANALYST, make_conninfo(url, user=f"{name}_analyst", password="never shown"))
            with pytest.raises(RolesRefused) as refused:
                await grant(make_conninfo(url, user=name, password=name), [wanted])
            assert f'CREATE ROLE "{name}_analyst" LOGIN NOSUPERUSER' in str(refused.value)
            assert "statement_timeout" in str(refused.value)
            assert "never shown" not in str(refused.value)
        finally:
            await admin.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(name)))


async def test_the_processes_of_a_stack_connect_as_their_roles(stack: Stack) -> None:
    async with await psycopg.AsyncConnection.connect(stack.settings.postgres_url) as owner:
        database = "SELECT DISTINCT application_name, usename FROM pg_stat_activity WHERE datname = 'kontor'"
        connected = {(name.split(".")[-1], role) for name, role in await (await owner.execute(database)).fetchall()}
        assert {("api", "kontor_api"), ("worker", "kontor_worker"), ("relay", "kontor_relay")} <= connected
        used = {role for name, role in connected if name}
        assert used <= {"kontor_api", "kontor_worker", "kontor_relay"}
        rights = (
            "SELECT count(*) FROM unnest(%s::text[]) r, unnest(ARRAY['events', 'commands', 'hash_chain']) t"
            " WHERE has_table_privilege(r, t, 'UPDATE, DELETE, TRUNCATE, TRIGGER')"
        )
        assert await (await owner.execute(rights, [sorted(used)])).fetchall() == [(0,)]
    async with await psycopg.AsyncConnection.connect(stack.status["analyst_url"]) as analyst:
        found = await (await analyst.execute("SELECT count(*) FROM business_event_log")).fetchone()
        assert found is not None
        assert found[0] > 0
