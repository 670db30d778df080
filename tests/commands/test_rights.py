"""Rights are asked of the account itself, in the attempt that is saved: a right that was lost does nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from commands.administration import EndSessions, ResetMfa, ResumeUser, SuspendUser
from commands.credentials import ConfirmMfa, DisableMfa, EnableMfa
from commands.handling import ANONYMOUS, Actor
from commands.rights import present_roles
from commands.sessions import SignIn
from commands.users import EraseUser, GrantRole, RevokeRole
from domain.errors import AccountSuspended, BadCredentials, Forbidden, IllegalTransition, NotFound
from domain.identity import UserId
from domain.users import Role, SuspensionReason, User
from tests.given import ADMIN, PASSWORD, SYSTEM, InMemory

FRAUD = SuspensionReason.FRAUD


def of(actor: Actor) -> UserId:
    assert actor.user_id is not None
    return UserId(actor.user_id)


def for_admin(user_id: UserId) -> list[Any]:
    return [
        GrantRole(user_id=user_id, role=Role.STAFF),
        RevokeRole(user_id=user_id, role=Role.CUSTOMER),
        SuspendUser(user_id=user_id, reason=FRAUD),
        ResumeUser(user_id=user_id),
        EndSessions(user_id=user_id),
        ResetMfa(user_id=user_id),
        EraseUser(user_id=user_id, current_password=PASSWORD),
    ]


LOSSES = {
    "revoked": lambda user_id: RevokeRole(user_id=user_id, role=Role.ADMIN),
    "suspended": lambda user_id: SuspendUser(user_id=user_id, reason=FRAUD),
    "erased": lambda user_id: EraseUser(user_id=user_id, current_password=PASSWORD),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_an_admin_who_is_none_any_more_does_nothing_whatever_his_token_says(loss: str) -> None:
    kontor = InMemory()
    ada, grace = of(await kontor.customer()), await kontor.admin()
    granted = GrantRole(user_id=ada, role=Role.ANALYST)
    await kontor.execute(granted, grace, key="before")
    await kontor.execute(LOSSES[loss](of(grace)), SYSTEM)
    stored = len(kontor.store.stored)
    for request in for_admin(ada):
        with pytest.raises(Forbidden, match="ADMIN"):
            await kontor.execute(request, grace)
    with pytest.raises(Forbidden):
        await kontor.execute(granted, grace, key="before")
    assert len(kontor.store.stored) == stored


async def test_a_token_of_an_account_that_is_not_there_makes_nobody_admin() -> None:
    kontor = InMemory()
    ada = of(await kontor.customer())
    for request in for_admin(ada):
        with pytest.raises(Forbidden):
            await kontor.execute(request, ADMIN)


async def test_what_an_admin_did_stands_in_his_own_history_and_what_changed_nothing_does_not() -> None:
    kontor = InMemory()
    ada, grace = of(await kontor.customer()), await kontor.admin()
    for _ in range(2):
        await kontor.execute(GrantRole(user_id=ada, role=Role.STAFF), grace)
    acted = [event for event in kontor.store.events if isinstance(event, User.AdminActed)]
    assert [(event.originator_id, event.command, event.subject_id) for event in acted] == [
        (of(grace), "GrantRole", ada)
    ]


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_loss_in_the_middle_of_a_command_is_before_it(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between what the command has read and its save, the actor loses the right."""
    kontor = InMemory()
    ada, grace = of(await kontor.customer()), await kontor.admin()
    append, lost = kontor.store.append, []

    async def after_the_loss(made: Any) -> Any:
        if not lost and made.command_name == "GrantRole":
            lost.append(loss)
            await kontor.execute(LOSSES[loss](of(grace)), SYSTEM)
        return await append(made)

    monkeypatch.setattr(kontor.store, "append", after_the_loss)
    with pytest.raises(Forbidden):
        await kontor.execute(GrantRole(user_id=ada, role=Role.ADMIN), grace)
    assert lost
    assert (await kontor.loaded(ada)).roles == (Role.CUSTOMER,)


@pytest.mark.parametrize("against", LOSSES)
async def test_of_two_admins_who_take_the_right_from_each_other_at_once_one_keeps_it(against: str) -> None:
    kontor = InMemory()
    one, two = await kontor.admin("one@example.com"), await kontor.admin("two@example.com")
    results = await asyncio.gather(
        kontor.execute(LOSSES[against](of(two)), one),
        kontor.execute(LOSSES[against](of(one)), two),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Forbidden) for each in results) == 1
    left = [present_roles(await kontor.loaded(of(each))) for each in (one, two)]
    assert sorted(Role.ADMIN in roles for roles in left) == [False, True]


async def test_nobody_takes_admin_from_himself() -> None:
    kontor = InMemory()
    grace = await kontor.admin()
    for request in (
        RevokeRole(user_id=of(grace), role=Role.ADMIN),
        SuspendUser(user_id=of(grace), reason=FRAUD),
        ResetMfa(user_id=of(grace)),
        EraseUser(user_id=of(grace), current_password=PASSWORD),
    ):
        with pytest.raises(IllegalTransition):
            await kontor.execute(request, grace)
    await kontor.execute(EndSessions(user_id=of(grace)), grace)
    assert Role.ADMIN in present_roles(await kontor.loaded(of(grace)))


async def test_a_suspended_account_is_told_so_only_with_the_right_password_and_can_be_resumed() -> None:
    kontor = InMemory()
    ada, grace = of(await kontor.customer()), await kontor.admin()
    right = SignIn(email="ada@example.com", password=PASSWORD)
    await kontor.execute(right, ANONYMOUS)
    for _ in range(2):
        await kontor.execute(SuspendUser(user_id=ada, reason=FRAUD), grace)
    assert kontor.store.event_types.count("user.suspended") == 1
    assert await kontor.sessions.live(ada, now=kontor.clock.now()) == set()
    with pytest.raises(BadCredentials):
        await kontor.execute(replace(right, password="wrong horse battery"), ANONYMOUS)
    with pytest.raises(AccountSuspended):
        await kontor.execute(right, ANONYMOUS)
    for _ in range(2):
        await kontor.execute(ResumeUser(user_id=ada), grace)
    assert kontor.store.event_types.count("user.resumed") == 1
    assert (await kontor.execute(right, ANONYMOUS)).secret["refresh_token"]


async def test_a_lost_second_factor_is_taken_away_and_sessions_end() -> None:
    kontor = InMemory()
    customer, grace = await kontor.customer(), await kontor.admin()
    await kontor.execute(EnableMfa(current_password=PASSWORD), customer)
    await kontor.execute(ConfirmMfa(code="000001"), customer)
    right = SignIn(email="ada@example.com", password=PASSWORD)
    await kontor.execute(replace(right, mfa_code="000002"), ANONYMOUS)
    for _ in range(2):
        await kontor.execute(ResetMfa(user_id=of(customer)), grace)
    assert kontor.store.event_types.count("user.mfa_disabled") == 1
    assert await kontor.sessions.live(of(customer), now=kontor.clock.now()) == set()
    assert await kontor.execute(right, ANONYMOUS)


async def test_who_has_no_account_cannot_be_suspended() -> None:
    kontor = InMemory()
    nobody = UserId(UUID(int=9))
    for request in for_admin(nobody):
        with pytest.raises(NotFound):
            await kontor.execute(request, await kontor.admin(f"{type(request).__name__}@example.com"))


async def test_a_role_that_needs_a_second_factor_counts_once_there_is_one_and_as_long_as_there_is() -> None:
    kontor = InMemory()
    kontor = InMemory(replace(kontor.ports, factor_required=frozenset({Role.STAFF, Role.ADMIN})))
    ada, grace = of(await kontor.customer()), await kontor.admin()
    user = await kontor.loaded(of(grace))
    assert present_roles(user, factor_required=kontor.ports.factor_required) == (Role.CUSTOMER,)
    for request in for_admin(ada):
        with pytest.raises(Forbidden, match="second factor"):
            await kontor.execute(request, grace)
    await kontor.execute(EnableMfa(current_password=PASSWORD), grace)
    await kontor.execute(ConfirmMfa(code="000001"), grace)
    user = await kontor.loaded(of(grace))
    assert present_roles(user, factor_required=kontor.ports.factor_required) == (Role.CUSTOMER, Role.ADMIN)
    await kontor.execute(GrantRole(user_id=ada, role=Role.STAFF), grace)
    with pytest.raises(IllegalTransition, match="ADMIN needs a second factor"):
        await kontor.execute(DisableMfa(code="000002", current_password=PASSWORD), grace)
    await kontor.execute(ResetMfa(user_id=of(grace)), SYSTEM)
    with pytest.raises(Forbidden, match="second factor"):
        await kontor.execute(GrantRole(user_id=ada, role=Role.ADMIN), grace)
