"""Password hashes: which are verified, which are replaced, and how many are computed at once."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import pytest
from psycopg_pool import AsyncConnectionPool

from adapters import passwords
from adapters.password_scheme import Argon2, Bcrypt, PasswordScheme, password_scheme
from adapters.passwords import PasswordTable
from adapters.settings import Settings
from adapters.wiring import Kontor
from commands.passwords import PASSWORD_BYTES_MAX
from commands.ports import Overloaded
from domain.disclosure import PersonalField

QUICK = Argon2(memory_kib=64, passes=1, lanes=1)
LONGEST = "ü" * (PASSWORD_BYTES_MAX // 2)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [("argon2id:m=65536,t=3,p=4", Argon2(memory_kib=65_536, passes=3, lanes=4)), ("bcrypt:12", Bcrypt(rounds=12))],
)
def test_a_scheme_is_one_line(text: str, scheme: PasswordScheme) -> None:
    assert password_scheme(text) == scheme


@pytest.mark.parametrize(
    "text",
    ["", "argon2id", "argon2i:m=65536,t=3,p=4", "argon2id:m=7,t=3,p=1", "argon2id:m=65536,t=0,p=4",
     "bcrypt:3", "argon2id:m=65536,t=3,p=17", "argon2id:m=9999999,t=3,p=4", "bcrypt:18", "bcrypt:", "md5",
     "argon2id:m=65536,t=3,p=4 "],
)  # fmt: skip
def test_what_is_no_scheme_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="argon2id:m=KIB"):
        password_scheme(text)


def test_by_default_it_is_argon2id_as_rfc_9106_recommends_for_little_memory() -> None:
    default = Settings.model_fields["password_hashing"].default
    assert password_scheme(default) == Argon2(memory_kib=65_536, passes=3, lanes=4)


async def stored(kontor: Kontor, user_id: UUID, *, put: str | None = None) -> str:
    """The hash that is stored, after it was put there by hand where one is given."""
    async with kontor.pool.connection() as connection:
        if put is not None:
            insert = "INSERT INTO credentials (user_id, password_hash) VALUES (%s, %s)"
            await connection.execute(insert, [user_id, put])
        found = await connection.execute("SELECT password_hash FROM credentials WHERE user_id = %s", [user_id])
        row = await found.fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.servers
@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
async def test_an_imported_bcrypt_hash_is_verified_and_replaced_at_the_next_sign_in(
    kontor: Kontor, prefix: str
) -> None:
    table, ada = PasswordTable(kontor.pool, QUICK), uuid4()
    imported = bcrypt.hashpw(LONGEST.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")
    await stored(kontor, ada, put=imported)
    assert not await table.verify(ada, "wrong")
    assert await stored(kontor, ada) == imported
    assert await table.verify(ada, LONGEST)
    renewed = await stored(kontor, ada)
    assert renewed.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert await table.verify(ada, LONGEST)
    assert await stored(kontor, ada) == renewed, "only once"


@pytest.mark.servers
async def test_another_scheme_or_other_figures_count_from_the_next_sign_in_on(kontor: Kontor) -> None:
    ada = uuid4()
    await kontor.personal_data.seal(ada, (PersonalField.USER_NAME, "Ada"))
    await PasswordTable(kontor.pool, QUICK).set(ada, "correct horse")
    argon2 = Argon2(memory_kib=128, passes=2, lanes=1)
    for scheme, begin in ((argon2, "$argon2id$v=19$m=128,t=2,p=1$"), (Bcrypt(rounds=4), "$2b$04$"),
                          (Bcrypt(rounds=5), "$2b$05$"), (QUICK, "$argon2id$v=19$m=64,t=1,p=1$")):  # fmt: skip
        assert await PasswordTable(kontor.pool, scheme).verify(ada, "correct horse")
        assert (await stored(kontor, ada)).startswith(begin)


@pytest.mark.servers
async def test_what_nobody_may_set_and_what_is_no_hash_are_wrong_and_break_nothing(kontor: Kontor) -> None:
    table, ada, bob = PasswordTable(kontor.pool, QUICK), uuid4(), uuid4()
    longer = LONGEST + "x"
    await stored(kontor, ada, put=bcrypt.hashpw(longer.encode()[:72], bcrypt.gensalt(4)).decode())
    await stored(kontor, bob, put="plain text of somebody's import")
    assert not await table.verify(ada, longer), "bcrypt itself would not look at the end"
    assert not await table.verify(ada, "x" * 10_000)
    assert not await table.verify(bob, "plain text of somebody's import")


@pytest.mark.servers
async def test_a_password_that_was_changed_meanwhile_is_not_undone_by_the_renewal(kontor: Kontor) -> None:
    table, ada = PasswordTable(kontor.pool, QUICK), uuid4()
    await kontor.personal_data.seal(ada, (PersonalField.USER_NAME, "Ada"))
    await stored(kontor, ada, put=bcrypt.hashpw(b"the old one", bcrypt.gensalt(4)).decode())
    verified = table._verified

    def slow(password: str, hashed: str | None) -> tuple[bool, str | None]:
        answer = verified(password, hashed)
        asyncio.run_coroutine_threadsafe(PasswordTable(kontor.pool, QUICK).set(ada, "the new one"), loop).result(30)
        return answer

    loop, table._verified = asyncio.get_running_loop(), slow  # type: ignore[method-assign]
    assert not await table.verify(ada, "the old one"), "it is not the person's any more"
    assert await PasswordTable(kontor.pool, QUICK).verify(ada, "the new one")


async def test_only_a_few_are_computed_at_once_and_a_flood_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: AsyncConnectionPool[Any] = None  # type: ignore[assignment]  # nothing is stored here
    table, lock, under_way, most = PasswordTable(nothing, QUICK), threading.Lock(), 0, 0
    monkeypatch.setattr(passwords, "WAITING_MAX", 20)

    def work() -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1

    answers = await asyncio.gather(*[table._computed(work) for _ in range(30)], return_exceptions=True)
    assert (answers.count(None), sum(isinstance(each, Overloaded) for each in answers)) == (20, 10)
    assert most <= passwords.AT_ONCE_MAX
    assert await table._computed(lambda: "afterwards it goes on") == "afterwards it goes on"


async def test_who_has_waited_too_long_for_a_turn_is_sent_away_and_costs_no_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing: AsyncConnectionPool[Any] = None  # type: ignore[assignment]  # nothing is stored here
    table, done, computed = PasswordTable(nothing, QUICK), threading.Event(), list[int]()
    monkeypatch.setattr(passwords, "WAITING_S_MAX", 0.05)
    busy = [asyncio.create_task(table._computed(lambda: done.wait(30))) for _ in range(passwords.AT_ONCE_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="nothing was done"):
        await table._computed(lambda: computed.append(1))
    done.set()
    assert all(await asyncio.gather(*busy))
    await table._computed(lambda: computed.append(2))
    assert computed == [2]
