"""One's own account through the pipeline: profile, password, sessions, second factor, roles, erasure."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from adapters.memory_accounts import MemoryCredentials
from commands.credentials import RECENT, ChangePassword, ConfirmMfa, DisableMfa, EnableMfa
from commands.handling import ANONYMOUS, Actor, Outcome
from commands.orders import PlaceOrder, WantedLine
from commands.sessions import SignIn, SignOut
from commands.users import EraseUser, GrantRole, RegisterUser, RevokeRole, UpdateProfile
from domain.errors import (
    AlreadyExists,
    BadCredentials,
    Forbidden,
    IllegalTransition,
    Invalid,
    MfaInvalid,
    MfaRequired,
    NotFound,
    ReauthenticationRequired,
    Unauthenticated,
    WeakPassword,
)
from domain.identity import UserId
from domain.users import Role, User
from tests.given import PASSWORD, STAFF, SYSTEM, InMemory

NEW_PASSWORD = "another horse battery"
OWN: list[Any] = [
    UpdateProfile(name="Ada"),
    ChangePassword(current=PASSWORD, new=NEW_PASSWORD),
    SignOut(),
    EnableMfa(current_password=PASSWORD),
    ConfirmMfa(code="000001"),
    DisableMfa(code="000001", current_password=PASSWORD),
]
FOR_ADMIN: list[Any] = [
    GrantRole(user_id=UserId(UUID(int=1)), role=Role.STAFF),
    RevokeRole(user_id=UserId(UUID(int=1)), role=Role.STAFF),
]


def name_of(request: object) -> str:
    return type(request).__name__


async def shop() -> tuple[InMemory, Actor, UserId]:
    kontor = InMemory()
    actor = await kontor.customer()
    assert actor.user_id is not None
    return kontor, actor, UserId(actor.user_id)


async def sign_in(kontor: InMemory, password: str = PASSWORD, **more: Any) -> Outcome:
    return await kontor.execute(SignIn(**({"email": "ada@example.com", "password": password} | more)), ANONYMOUS)


async def name_and_email(kontor: InMemory, user_id: UUID) -> tuple[str | None, str | None]:
    user: User = await kontor.loaded(user_id)
    return kontor.personal_data.opened(user_id, user.name), kontor.personal_data.opened(user_id, user.email)


@pytest.mark.parametrize("request_", [*OWN, *FOR_ADMIN, EraseUser(user_id=UserId(UUID(int=1)))], ids=name_of)
async def test_who_is_not_signed_in_has_no_account_to_change(request_: Any) -> None:
    with pytest.raises(Unauthenticated):
        await InMemory().execute(request_, ANONYMOUS)


@pytest.mark.parametrize("request_", OWN, ids=name_of)
async def test_the_system_has_no_account_of_its_own(request_: Any) -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(request_, SYSTEM)


@pytest.mark.parametrize("request_", FOR_ADMIN, ids=name_of)
async def test_roles_are_for_admins(request_: Any) -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(request_, STAFF)


async def test_a_profile_changes_by_what_is_new() -> None:
    kontor, ada, ada_id = await shop()
    await kontor.execute(UpdateProfile(name=" Ada L. ", email=" Ada@New.example ", current_password=PASSWORD), ada)
    assert await name_and_email(kontor, ada_id) == ("Ada L.", "ada@example.com")
    pending = (await kontor.loaded(ada_id)).pending_email
    assert kontor.personal_data.opened(ada_id, pending.email) == "ada@new.example"
    before = len(kontor.store.stored)
    await kontor.execute(UpdateProfile(name="Ada L.", email="ada@example.com"), ada)
    await kontor.execute(UpdateProfile(), ada)
    assert len(kontor.store.stored) == before


async def test_of_many_who_register_one_address_at_once_one_gets_it() -> None:
    kontor, _, _ = await shop()
    requests = [RegisterUser(email="one@example.com", name="x", password=PASSWORD) for _ in range(4)]
    results = await asyncio.gather(*(kontor.execute(each) for each in requests), return_exceptions=True)
    assert sum(isinstance(result, Outcome) for result in results) == 1
    assert sum(isinstance(result, AlreadyExists) for result in results) == 3


@pytest.mark.parametrize(("change", "error"), [({"email": "nonsense"}, Invalid), ({"name": ""}, Invalid)])
async def test_a_profile_that_cannot_be_is_invalid(change: dict[str, Any], error: type[Exception]) -> None:
    kontor, ada, _ = await shop()
    with pytest.raises(error):
        await kontor.execute(UpdateProfile(**change), ada)


async def test_a_changed_password_ends_every_session_and_is_the_only_one() -> None:
    kontor, ada, _ = await shop()
    await sign_in(kontor)
    await kontor.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), ada)
    assert kontor.store.event_types[-2:] == ["user.password_changed", "user.sessions_revoked"]
    assert kontor.sessions.ended == set(kontor.sessions.opened)
    with pytest.raises(BadCredentials):
        await sign_in(kontor)
    assert await sign_in(kontor, NEW_PASSWORD)


@pytest.mark.parametrize(
    ("current", "new", "error", "field"),
    [("wrong", NEW_PASSWORD, BadCredentials, "current"), (PASSWORD, "short", WeakPassword, "new"),
     (PASSWORD, "ada@example.com", WeakPassword, "new")],
)  # fmt: skip
async def test_a_password_is_not_changed_to_a_weak_one_nor_by_somebody_else(
    current: str, new: str, error: type[Exception], field: str
) -> None:
    kontor, ada, _ = await shop()
    with pytest.raises(error) as refused:
        await kontor.execute(ChangePassword(current=current, new=new), ada)
    assert refused.value.field == (field,)  # type: ignore[attr-defined]
    assert await sign_in(kontor)


async def test_signing_out_ends_one_session_or_all_and_nobody_elses() -> None:
    kontor, ada, _ = await shop()
    await kontor.customer("bob@example.com")
    first, second = [UUID((await sign_in(kontor)).secret["session_id"]) for _ in range(2)]
    bobs = UUID((await sign_in(kontor, email="bob@example.com")).secret["session_id"])
    await kontor.execute(SignOut(session_id=bobs), ada)
    assert kontor.sessions.ended == set()
    await kontor.execute(SignOut(session_id=first), ada)
    assert kontor.sessions.ended == {first}
    await kontor.execute(SignOut(), ada)
    assert kontor.sessions.ended == {first, second}
    before = len(kontor.store.stored)
    await kontor.execute(SignOut(), ada)
    assert len(kontor.store.stored) == before


async def test_a_second_factor_counts_once_it_is_confirmed() -> None:
    kontor, ada, _ = await shop()
    secret = (await kontor.execute(EnableMfa(current_password=PASSWORD), ada)).secret
    recovery_codes = secret["recovery_codes"].split("\n")
    assert secret["provisioning_uri"].startswith("otpauth://")
    assert await sign_in(kontor)  # not confirmed yet
    for unfit in ("999999", recovery_codes[0]):
        with pytest.raises(MfaInvalid):
            await kontor.execute(ConfirmMfa(code=unfit), ada)
    for _ in range(2):
        await kontor.execute(ConfirmMfa(code="000001"), ada)
    assert kontor.store.event_types.count("user.mfa_enabled") == 1
    with pytest.raises(IllegalTransition):
        await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    with pytest.raises(MfaRequired):
        await sign_in(kontor)
    with pytest.raises(MfaInvalid):
        await sign_in(kontor, mfa_code="000001")  # used before
    assert await sign_in(kontor, mfa_code="000002")
    assert await sign_in(kontor, mfa_code=recovery_codes[0])
    with pytest.raises(MfaInvalid):
        await sign_in(kontor, mfa_code=recovery_codes[0])  # each is good once
    assert kontor.store.event_types.count("sign_in.failed") == 3


@pytest.mark.parametrize("code", ["000002", "recovery-1"])
async def test_a_second_factor_is_given_up_with_a_code(code: str) -> None:
    kontor, ada, _ = await shop()
    await kontor.execute(DisableMfa(code="nothing to give up", current_password=PASSWORD), ada)
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    await kontor.execute(ConfirmMfa(code="000001"), ada)
    with pytest.raises(MfaInvalid):
        await kontor.execute(DisableMfa(code="000001", current_password=PASSWORD), ada)
    for _ in range(2):
        await kontor.execute(DisableMfa(code=code, current_password=PASSWORD), ada)
    assert kontor.store.event_types.count("user.mfa_disabled") == 1
    assert await sign_in(kontor)


async def test_an_admin_grants_and_revokes_but_not_his_own_role() -> None:
    kontor, _, ada_id = await shop()
    admin = await kontor.admin()
    for _ in range(2):
        await kontor.execute(GrantRole(user_id=ada_id, role=Role.STAFF), admin)
    assert (await kontor.loaded(ada_id)).roles == (Role.CUSTOMER, Role.STAFF)
    for _ in range(2):
        await kontor.execute(RevokeRole(user_id=ada_id, role=Role.STAFF), admin)
    assert (await kontor.loaded(ada_id)).roles == (Role.CUSTOMER,)
    with pytest.raises(NotFound):
        await kontor.execute(GrantRole(user_id=UserId(UUID(int=9)), role=Role.STAFF), admin)
    await kontor.execute(GrantRole(user_id=ada_id, role=Role.ADMIN), admin)
    with pytest.raises(IllegalTransition, match="your own role ADMIN"):
        await kontor.execute(RevokeRole(user_id=ada_id, role=Role.ADMIN), Actor.user(ada_id, [Role.ADMIN]))


@pytest.mark.parametrize("by_admin", [True, False], ids=["by an admin", "by oneself"])
async def test_an_erased_account_is_unreadable_and_its_address_free(by_admin: bool) -> None:
    kontor, ada, ada_id = await shop()
    admin = await kontor.admin()
    await sign_in(kontor)
    sealed: User = await kontor.loaded(ada_id)
    for _ in range(2):
        await kontor.execute(EraseUser(user_id=ada_id, current_password=PASSWORD), admin if by_admin else ada)
    assert kontor.store.event_types[-2:] in (["user.erased", "email.released"], ["email.released", "user.erased"])
    assert kontor.personal_data.opened(ada_id, sealed.name) is None
    assert kontor.sessions.opened == {}
    with pytest.raises(BadCredentials):
        await sign_in(kontor)
    for request in OWN:
        with pytest.raises(IllegalTransition, match="ERASED"):
            await kontor.execute(request, ada)
    for role_change in (GrantRole, RevokeRole):
        with pytest.raises(IllegalTransition, match="ERASED"):
            await kontor.execute(role_change(user_id=ada_id, role=Role.CUSTOMER), admin)
    assert await kontor.customer()


async def test_what_cannot_be_destroyed_at_once_keeps_nothing_else_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kontor, ada, ada_id = await shop()
    await sign_in(kontor)

    async def fails(person_id: UUID) -> None:
        raise ConnectionError(person_id)

    monkeypatch.setattr(kontor.personal_data, "destroy", fails)
    assert (await kontor.execute(EraseUser(user_id=ada_id, current_password=PASSWORD), ada)).version == 2
    assert kontor.sessions.opened == {}
    assert not await kontor.ports.credentials.verify(ada_id, PASSWORD)


async def test_a_repeated_request_with_its_key_changes_nothing_again() -> None:
    kontor, ada, ada_id = await shop()
    admin = await kontor.admin()
    for request, actor in (
        (UpdateProfile(name="Ada L.", email="ada@new.example", current_password=PASSWORD), ada),
        (ChangePassword(current=PASSWORD, new=NEW_PASSWORD), ada),
        (GrantRole(user_id=ada_id, role=Role.STAFF), admin),
        (RevokeRole(user_id=ada_id, role=Role.STAFF), admin),
        (EraseUser(user_id=ada_id, current_password=PASSWORD), admin),
    ):
        first = await kontor.execute(request, actor, key="k")
        stored = len(kontor.store.stored)
        again = await kontor.execute(request, actor, key="k")
        assert (again.replayed, again.version, len(kontor.store.stored)) == (True, first.version, stored)
        assert not first.replayed


async def test_only_an_admin_erases_somebody_else() -> None:
    kontor, _, ada_id = await shop()
    bob = await kontor.customer("bob@example.com")
    for actor in (bob, STAFF):
        with pytest.raises(NotFound):
            await kontor.execute(EraseUser(user_id=ada_id, current_password=PASSWORD), actor)
    assert "user.erased" not in kontor.store.event_types


async def test_nothing_is_sold_to_an_erased_customer() -> None:
    kontor, ada, ada_id = await shop()
    await kontor.product("MUG", units=1)
    await kontor.execute(EraseUser(user_id=ada_id, current_password=PASSWORD), await kontor.admin())
    order = PlaceOrder(lines=(WantedLine(sku="MUG", quantity=1),), currency="GBP", payment_method="card")
    with pytest.raises(NotFound):
        await kontor.execute(order, ada)


async def test_a_lost_race_verifies_no_password_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kontor, ada, _ = await shop()
    credentials, append, lost = kontor.ports.credentials, kontor.store.append, [0]
    assert isinstance(credentials, MemoryCredentials)

    async def overtaken(wanted: Any) -> Any:
        if wanted.command_name == "ChangePassword" and lost[0] < 5:
            lost[0] += 1
            await kontor.execute(UpdateProfile(name=f"Ada {lost[0]}."), ada)
        return await append(wanted)

    monkeypatch.setattr(kontor.store, "append", overtaken)
    before = credentials.verified
    await kontor.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), ada)
    assert (lost, credentials.verified - before) == ([5], 1)
    assert await sign_in(kontor, NEW_PASSWORD)


async def test_a_password_that_changes_meanwhile_changes_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kontor, ada, _ = await shop()
    append, overtaken = kontor.store.append, [False]

    async def late(wanted: Any) -> Any:
        if not overtaken[0]:
            overtaken[0] = True
            await kontor.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), ada)
        return await append(wanted)

    monkeypatch.setattr(kontor.store, "append", late)
    with pytest.raises(BadCredentials):
        await kontor.execute(ChangePassword(current=PASSWORD, new="a third horse battery"), ada)
    assert await sign_in(kontor, NEW_PASSWORD)


@pytest.mark.parametrize("shown", [None, "wrong horse battery"])
async def test_a_stolen_access_token_is_not_the_account(shown: str | None) -> None:
    kontor, ada, ada_id = await shop()
    before = len(kontor.store.stored)
    wanted: list[Any] = [
        UpdateProfile(email="thief@example.com", current_password=shown),
        EnableMfa(current_password=shown),
        EraseUser(user_id=ada_id, current_password=shown),
        ChangePassword(current=shown or "", new=NEW_PASSWORD),
    ]
    for request in wanted:
        with pytest.raises((ReauthenticationRequired, BadCredentials)):
            await kontor.execute(request, ada)
    assert len(kontor.store.stored) == before


async def test_where_there_is_a_factor_its_code_has_to_come_with_the_password() -> None:
    kontor, ada, ada_id = await shop()
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    await kontor.execute(ConfirmMfa(code="000001"), ada)
    for code, error in ((None, MfaRequired), ("000001", MfaInvalid)):
        wanted: list[Any] = [
            UpdateProfile(email="ada@new.example", current_password=PASSWORD, mfa_code=code),
            EraseUser(user_id=ada_id, current_password=PASSWORD, mfa_code=code),
            ChangePassword(current=PASSWORD, new=NEW_PASSWORD, mfa_code=code),
        ]
        for request in wanted:
            with pytest.raises(error):
                await kontor.execute(request, ada)
    await kontor.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD, mfa_code="000002"), ada)


async def test_a_factor_is_confirmed_within_five_minutes_of_the_password() -> None:
    kontor, ada, _ = await shop()
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    kontor.clock.advance(RECENT + timedelta(seconds=1))
    with pytest.raises(MfaInvalid, match="begin again"):
        await kontor.execute(ConfirmMfa(code="000001"), ada)
    assert "user.mfa_enabled" not in kontor.store.event_types
