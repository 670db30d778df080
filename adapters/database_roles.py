"""The roles that the parts of Kontor connect as: each may do what `adapters.table_grants` lists, and nothing else.

The role that migrates owns the tables. Granting is repeated at every migration, in one transaction, so that no part is
without its rights for a moment, and a right that is not listed any more is taken away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier, Literal

from adapters.table_grants import (
    ADVISORY_LOCKS,
    ANALYST,
    BUSINESS_EVENTS,
    FUNCTIONS,
    OF_VIEWS,
    SEQUENCES,
    TABLES,
    VIEW_TABLES,
)
from domain import AUDIENCES, FIELD_AUDIENCES
from domain.audience import READERS, Audience

ANALYST_STATEMENT_TIMEOUT: Final = "30s"
ANALYST_CONNECTIONS_MAX: Final = 10
_SCHEMA_LOCK: Final = "SELECT pg_advisory_xact_lock(7310110114112)"
_ORDINARY: Final = SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")
_ROLE: Final = """
SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
       OR pg_has_role(oid, (SELECT relowner FROM pg_class WHERE oid = 'events'::regclass), 'MEMBER')
FROM pg_roles WHERE rolname = %s
"""
_NOTE: Final = "INSERT INTO database_roles VALUES (%s, %s) ON CONFLICT (part) DO UPDATE SET role = excluded.role"
_NOTED: Final = "SELECT part, role FROM database_roles WHERE role IN (SELECT rolname FROM pg_roles)"
_GENERATIONS: Final = "SELECT format('%s_%s', base, generation) FROM view_generations WHERE generation > 1"
# Personal and security events are not for analysts; what is sealed in the others stays sealed.
_BUSINESS_EVENTS: Final = SQL(
    "CREATE OR REPLACE VIEW {} WITH (security_barrier) AS SELECT position, event_type, schema_version, aggregate_type,"
    " aggregate_id, version, recorded_at, actor, command_id, correlation_id, causation_id, context, shard,"
    " data - ARRAY(SELECT jsonb_array_elements_text({}::jsonb -> event_type)) AS data"
    " FROM event_log WHERE event_type = ANY({}::text[])"
)
# Locks are for the roles that may call a function of that name: while the one of the log is held, nothing is appended.
_LOCK_FUNCTIONS: Final = (
    "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
    " AND proname ~ '^pg_(try_)?advisory_(xact_)?(lock|unlock)'"
)
_GRANTED: Final = """
SELECT r.rolname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a, pg_roles r
WHERE c.oid = %s::regclass AND r.oid = a.grantee AND a.grantee <> c.relowner
"""


class RolesRefused(Exception):
    """A role cannot be made, or may do more than its part."""


@dataclass(frozen=True, slots=True)
class Login:
    """The role that a part of Kontor connects as."""

    part: str
    role: str
    password: str | None = field(repr=False)

    @classmethod
    def of(cls, part: str, url: str) -> Login:
        """Reads user and password of a libpq URL. Raises RolesRefused for one without a user."""
        parts = conninfo_to_dict(url)
        if not parts.get("user"):
            raise RolesRefused(f"KONTOR_POSTGRES_{part.upper()}_URL names no user: postgresql://user:password@host/db")
        return cls(part, str(parts["user"]), str(parts["password"]) if parts.get("password") else None)


async def grant(conninfo: str, logins: Sequence[Login]) -> list[str]:
    """Make or change these roles, and give every role that was ever named what its part may do; returns their names.

    Raises RolesRefused, when nothing was changed."""
    async with await AsyncConnection.connect(conninfo) as connection, connection.transaction():
        await connection.execute(_SCHEMA_LOCK)
        for login in logins:
            await _make(connection, login)
            await connection.execute(_NOTE, [login.part, login.role])
        roles: dict[str, str] = dict(await (await connection.execute(_NOTED)).fetchall())
        if not roles:
            return []
        await connection.execute(_view_for_analysts())
        for statement in await _statements(connection, roles):
            await connection.execute(statement)
        await _only_parts_lock(connection, roles)
        return sorted(set(roles.values()))


async def grant_like(connection: AsyncConnection[Any], table: str, like: str) -> None:
    """The roles that may use one table may use the other in the same way."""
    for role, privilege in await (await connection.execute(_GRANTED, [like])).fetchall():
        await connection.execute(
            SQL("GRANT {} ON {} TO {}").format(SQL(privilege), Identifier(table), Identifier(role))
        )


def _view_for_analysts() -> Composed:
    business = sorted(kind for kind, audience in AUDIENCES.items() if audience is Audience.BUSINESS)
    hidden = {
        kind: [name for name, audience in FIELD_AUDIENCES[kind].items() if "ANALYST" not in READERS[audience]]
        for kind in business
        if kind in FIELD_AUDIENCES
    }
    return _BUSINESS_EVENTS.format(
        Identifier(BUSINESS_EVENTS), Literal(json.dumps(hidden, sort_keys=True)), Literal(business)
    )


async def _make(connection: AsyncConnection[Any], login: Login) -> None:
    found = await (await connection.execute(_ROLE, [login.role])).fetchone()
    if found is not None and found[0]:
        raise RolesRefused(
            f"KONTOR_POSTGRES_{login.part.upper()}_URL names the role {login.role}, which owns the tables or may do "
            "more than its part of Kontor: name another role."
        )
    change = SQL("CREATE ROLE {} {}" if found is None else "ALTER ROLE {} {}").format(Identifier(login.role), _ORDINARY)
    try:
        async with connection.transaction():
            await connection.execute(change)
            if login.password is not None:
                # As PostgreSQL would store it, so that the password itself stands in no log of the server.
                verifier = connection.pgconn.encrypt_password(
                    login.password.encode(), login.role.encode(), b"scram-sha-256"
                )
                await connection.execute(
                    SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(login.role), Literal(verifier.decode()))
                )
            for statement in _limits(login):
                await connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        if found is None:
            needed = [change, *_limits(login)]
            statements = "; ".join(statement.as_string(connection) for statement in needed)
            raise RolesRefused(
                f"The user that migrates may not make the role {login.role}. Have an administrator of the server run: "
                f"{statements}; set its password with \\password; then run `kontor migrate` again."
            ) from error


def _limits(login: Login) -> list[Composed]:
    if login.part != ANALYST:
        return []
    alter = SQL("ALTER ROLE {} ").format(Identifier(login.role))
    return [
        alter + SQL("CONNECTION LIMIT {}").format(Literal(ANALYST_CONNECTIONS_MAX)),
        alter + SQL("SET default_transaction_read_only = on"),
        alter + SQL("SET statement_timeout = {}").format(Literal(ANALYST_STATEMENT_TIMEOUT)),
    ]


async def _statements(connection: AsyncConnection[Any], roles: Mapping[str, str]) -> list[Composed]:
    """Everything that takes away, then everything that gives."""
    ((database, schema),) = await (await connection.execute("SELECT current_database(), current_schema()")).fetchall()
    place, names = Identifier(schema), SQL(", ").join(map(Identifier, sorted(set(roles.values()))))
    all_roles = SQL("PUBLIC, {}").format(names)
    taken = [
        SQL("REVOKE ALL ON {} IN SCHEMA {} FROM {}").format(SQL(f"ALL {kind}"), place, all_roles)
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS")
    ]
    generations = [row[0] for row in await (await connection.execute(_GENERATIONS)).fetchall()]
    tables = {**TABLES, **dict.fromkeys((*sorted(VIEW_TABLES), *generations), OF_VIEWS)}
    return [
        *taken,
        SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(place, all_roles),
        SQL("REVOKE ALL ON DATABASE {} FROM {}").format(Identifier(database), all_roles),
        SQL("GRANT CONNECT ON DATABASE {} TO {}").format(Identifier(database), names),
        SQL("GRANT USAGE ON SCHEMA {} TO {}").format(place, names),
        *_granted("TABLE", tables, roles),
        *_granted("SEQUENCE", SEQUENCES, roles),
        *(
            SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {} TO {}").format(place, Identifier(roles[part]))
            for part in FUNCTIONS
            if part in roles
        ),
    ]


def _granted(kind: str, things: Mapping[str, Mapping[str, str]], roles: Mapping[str, str]) -> Iterable[Composed]:
    for thing, privileges in things.items():
        for part, listed in privileges.items():
            if part in roles:
                yield SQL("GRANT {} ON {} {} TO {}").format(
                    SQL(listed), SQL(kind), Identifier(thing), Identifier(roles[part])
                )


async def _only_parts_lock(connection: AsyncConnection[Any], roles: Mapping[str, str]) -> None:
    """No other role may hold the locks that Kontor works with. Only a superuser can grant and revoke them."""
    lockers = [Identifier(roles[part]) for part in ADVISORY_LOCKS if part in roles]
    try:
        async with connection.transaction():
            for (function,) in await (await connection.execute(_LOCK_FUNCTIONS)).fetchall():
                await connection.execute(SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(SQL(function)))
                for locker in lockers:
                    await connection.execute(SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(SQL(function), locker))
    except psycopg.errors.InsufficientPrivilege:
        return
