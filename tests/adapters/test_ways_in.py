"""What lets a person in, changed while others sign in: on real PostgreSQL, through the pipeline and below it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from adapters.mfa import STEP_S, code_at
from adapters.passwords import PasswordTable
from adapters.wiring import Kontor
from commands.account_recovery import ResetPassword
from commands.credentials import ChangePassword, ConfirmMfa, DisableMfa, EnableMfa
from commands.handling import ANONYMOUS, Actor, Outcome
from commands.ports import TokenPurpose
from commands.sessions import SignIn, SignOut
from commands.users import RegisterUser
from domain.disclosure import PersonalField
from domain.errors import BadCredentials, DomainError, Invalid, MfaRequired
from domain.identity import email_claim_id
from domain.users import User
from tests.adapters.test_event_store import append_of
from tests.adapters.test_mfa import secret_in
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers
NEW_PASSWORD: Final = "another horse battery"
EMAIL: Final = "ada@example.com"
THIEVES: Final = 4


async def account(kontor: Kontor) -> Actor:
    made = await kontor.pipeline.execute(RegisterUser(email=EMAIL, name="Ada", password=PASSWORD), actor=SYSTEM)
    return Actor.user(made.aggregate_id, [])


async def sign_in(kontor: Kontor, password: str = PASSWORD, **more: Any) -> Outcome:
    return await kontor.pipeline.execute(SignIn(email=EMAIL, password=password, **more), actor=ANONYMOUS)


async def reset_token(kontor: Kontor, user_id: UUID | None) -> str:
    assert user_id is not None
    now, address_id = kontor.ports.clock.now(), email_claim_id(kontor.personal_data.digest(EMAIL))
    return await kontor.ports.account_tokens.make(
        user_id, TokenPurpose.PASSWORD_RESET, address_id=address_id, expires_at=now + timedelta(minutes=30), now=now
    )


async def live(kontor: Kontor, ada: Actor) -> set[UUID]:
    assert ada.user_id is not None
    return await kontor.sessions.live(ada.user_id, now=kontor.ports.clock.now())


@asynccontextmanager
async def thief(kontor: Kontor) -> AsyncIterator[list[Outcome]]:
    """Signs in in a loop with the old password, several at a time, until the block ends and a little longer."""
    opened: list[Outcome] = []
    going = True

    async def loop() -> None:
        while going:
            try:
                opened.append(await sign_in(kontor))
            except DomainError:
                await asyncio.sleep(0)

    loops = [asyncio.create_task(loop()) for _ in range(THIEVES)]
    while not opened:
        await asyncio.sleep(0.01)
    yield opened
    await asyncio.sleep(0.2)
    going = False
    await asyncio.gather(*loops)


@pytest.mark.parametrize("way", ["change", "reset"])
async def test_a_thief_who_signs_in_in_a_loop_keeps_no_session_and_stops_nobody(kontor: Kontor, way: str) -> None:
    ada = await account(kontor)
    passwords = [PASSWORD, NEW_PASSWORD]
    async with thief(kontor) as opened:
        if way == "change":
            request: Any = ChangePassword(current=passwords[0], new=passwords[1])
        else:
            request = ResetPassword(token=await reset_token(kontor, ada.user_id), new=passwords[1])
        await kontor.pipeline.execute(request, actor=ada)
    assert opened
    assert await live(kontor, ada) == set()
    for each in opened:
        with pytest.raises(BadCredentials):
            await kontor.sessions.rotate(each.secret["refresh_token"])
    assert await sign_in(kontor, NEW_PASSWORD)


async def test_a_sign_in_that_was_verified_before_the_change_opens_nothing_after_it(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, sessions = await account(kontor), kontor.sessions
    open_session, overtaken = sessions.open, [False]

    async def late(*given: Any, **more: Any) -> Any:
        if not overtaken[0]:
            overtaken[0] = True
            await kontor.pipeline.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), actor=ada)
        return await open_session(*given, **more)

    monkeypatch.setattr(sessions, "open", late)
    with pytest.raises(BadCredentials):
        await sign_in(kontor)
    assert overtaken == [True]
    assert await live(kontor, ada) == set()


async def test_a_sign_in_that_was_verified_before_a_second_factor_counts_needs_its_code(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, sessions = await account(kontor), kontor.sessions
    secret = secret_in(
        (await kontor.pipeline.execute(EnableMfa(current_password=PASSWORD), actor=ada)).secret["provisioning_uri"]
    )
    open_session = sessions.open

    async def late(*given: Any, **more: Any) -> Any:
        code = code_at(secret, int(kontor.ports.clock.now().timestamp()) // STEP_S)
        await kontor.pipeline.execute(ConfirmMfa(code=code), actor=ada)
        monkeypatch.undo()
        return await open_session(*given, **more)

    monkeypatch.setattr(sessions, "open", late)
    with pytest.raises(MfaRequired):
        await sign_in(kontor)
    assert await live(kontor, ada) == set()


async def test_what_a_thief_prepares_meanwhile_is_not_what_the_owner_has_confirmed(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, store = await account(kontor), kontor.store
    secret = secret_in(
        (await kontor.pipeline.execute(EnableMfa(current_password=PASSWORD), actor=ada)).secret["provisioning_uri"]
    )
    append = store.append

    async def late(wanted: Any) -> Any:
        if wanted.command_name == "ConfirmMfa":
            await kontor.pipeline.execute(EnableMfa(current_password=PASSWORD), actor=ada)
        return await append(wanted)

    monkeypatch.setattr(store, "append", late)
    step = int(kontor.ports.clock.now().timestamp()) // STEP_S
    await kontor.pipeline.execute(ConfirmMfa(code=code_at(secret, step)), actor=ada)
    assert await sign_in(kontor, mfa_code=code_at(secret, step + 1))


async def test_a_process_that_dies_right_after_the_event_leaves_nothing_to_do(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever follows the append is lost; the password counts, sessions and links have ended."""
    ada = await account(kontor)
    await sign_in(kontor)
    token, append = await reset_token(kontor, ada.user_id), kontor.store.append

    async def dies(wanted: Any) -> Any:
        await append(wanted)
        raise asyncio.CancelledError

    monkeypatch.setattr(kontor.store, "append", dies)
    with pytest.raises(asyncio.CancelledError):
        await kontor.pipeline.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), actor=ada)
    monkeypatch.undo()
    assert await live(kontor, ada) == set()
    with pytest.raises(BadCredentials):
        await sign_in(kontor)
    with pytest.raises(Invalid):
        await kontor.pipeline.execute(ResetPassword(token=token, new="a third horse battery"), actor=ANONYMOUS)
    assert await sign_in(kontor, NEW_PASSWORD)


async def test_a_process_that_dies_right_before_the_event_changes_nothing(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await account(kontor)
    session = (await sign_in(kontor)).secret["session_id"]

    async def dies(wanted: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(kontor.store, "append", dies)
    with pytest.raises(asyncio.CancelledError):
        await kontor.pipeline.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), actor=ada)
    monkeypatch.undo()
    assert await live(kontor, ada) == {UUID(session)}
    with pytest.raises(BadCredentials):
        await sign_in(kontor, NEW_PASSWORD)
    assert await sign_in(kontor)


async def test_an_event_without_its_hash_ends_the_old_password_too(kontor: Kontor) -> None:
    ada = await account(kontor)
    assert ada.user_id is not None
    user: Any = (await kontor.store.load([ada.user_id]))[ada.user_id][0]
    user.change_password(reason="test", now=kontor.ports.clock.now())
    await kontor.store.append(append_of(user))
    with pytest.raises(BadCredentials):
        await sign_in(kontor)


async def test_sessions_that_are_opened_while_all_end_end_too_unless_one_is_kept(kontor: Kontor) -> None:
    ada = await account(kontor)
    assert ada.user_id is not None
    first, second, third = [UUID((await sign_in(kontor)).secret["session_id"]) for _ in range(3)]
    await kontor.pipeline.execute(SignOut(session_id=first), actor=ada)
    assert await live(kontor, ada) == {second, third}
    user: Any = (await kontor.store.load([ada.user_id]))[ada.user_id][0]
    user.revoke_sessions(reason="test", now=kontor.ports.clock.now(), kept=second)
    await kontor.store.append(append_of(user))
    assert await live(kontor, ada) == {second}
    await kontor.pipeline.execute(SignOut(), actor=ada)
    assert await live(kontor, ada) == set()


async def test_a_factor_that_is_given_up_is_gone_with_the_event(kontor: Kontor) -> None:
    ada = await account(kontor)
    told = (await kontor.pipeline.execute(EnableMfa(current_password=PASSWORD), actor=ada)).secret
    step = int(kontor.ports.clock.now().timestamp()) // STEP_S
    await kontor.pipeline.execute(ConfirmMfa(code=code_at(secret_in(told["provisioning_uri"]), step)), actor=ada)
    codes = told["recovery_codes"].split("\n")
    assert await sign_in(kontor, mfa_code=codes[0])
    await kontor.pipeline.execute(DisableMfa(code=codes[1], current_password=PASSWORD), actor=ada)
    async with kontor.pool.connection() as connection:
        rows = await connection.execute("SELECT count(*) FROM mfa WHERE user_id = %s", [ada.user_id])
        assert await rows.fetchone() == (0,)
    assert await sign_in(kontor)


async def test_a_proof_is_of_one_hash_and_one_generation(kontor: Kontor) -> None:
    ada, passwords, now = uuid4(), kontor.ports.credentials, kontor.ports.clock.now()
    assert isinstance(passwords, PasswordTable)
    await kontor.personal_data.seal(ada, (PersonalField.USER_NAME, "Ada"))
    await passwords.set(ada, PASSWORD)
    proof = await passwords.verify(ada, PASSWORD)
    assert proof is not None
    assert proof.password_hash not in repr(proof)
    assert await kontor.sessions.open(proof, user_agent="", now=now)
    for bad in (proof._replace(generation=1), proof._replace(password_hash="x"), proof._replace(user_id=uuid4())):
        assert await kontor.sessions.open(bad, user_agent="", now=now) is None
    await passwords.set(ada, NEW_PASSWORD)
    assert not await passwords.still_good(proof)
    assert await kontor.sessions.open(proof, user_agent="", now=now) is None


async def test_attempts_to_sign_in_leave_the_account_as_it_was(kontor: Kontor) -> None:
    ada = await account(kontor)
    await sign_in(kontor)
    with pytest.raises(BadCredentials):
        await sign_in(kontor, "wrong horse battery")
    assert ada.user_id is not None
    user, head = (await kontor.store.load([ada.user_id]))[ada.user_id]
    assert isinstance(user, User)
    assert head.version == 1
