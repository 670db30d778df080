"""Changing an address: it counts once its mailed link was followed, and the owner of the former one can undo it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from commands.account_recovery import ResetPassword, VerifyEmail
from commands.credentials import ChangePassword, ConfirmMfa, EnableMfa
from commands.email_changes import UndoEmailChange
from commands.handling import ANONYMOUS, Actor
from commands.ports import TokenPurpose
from commands.sessions import SignIn
from commands.users import EraseUser, RegisterUser, UpdateProfile
from domain.disclosure import PersonalField
from domain.email_claims import FORMER_EMAILS_MAX, UNDO_WINDOW
from domain.errors import AlreadyExists, BadCredentials, IllegalTransition, Invalid, ReauthenticationRequired
from domain.identity import UserId, email_claim_id
from tests.commands.test_account_recovery import NEW_PASSWORD, mailed, shop
from tests.given import PASSWORD, InMemory

OLD, NEW, THIRD = "ada@example.com", "ada@new.example", "ada@third.example"
VERIFY, CHANGE = TokenPurpose.EMAIL_VERIFICATION, TokenPurpose.EMAIL_CHANGE
UNDO, RESET = TokenPurpose.EMAIL_UNDO, TokenPurpose.PASSWORD_RESET


async def verified_shop() -> tuple[InMemory, Actor, UserId]:
    """Ada's account, whose address she has verified."""
    kontor, ada, ada_id = await shop()
    await kontor.execute(VerifyEmail(token=await mailed(kontor, ada_id, VERIFY)), ANONYMOUS)
    return kontor, ada, ada_id


async def request_change(kontor: InMemory, who: Actor, email: str) -> None:
    await kontor.execute(UpdateProfile(email=email, current_password=PASSWORD), who)


async def change(kontor: InMemory, who: Actor, email: str) -> None:
    """Asked for and confirmed."""
    assert who.user_id is not None
    await request_change(kontor, who, email)
    await kontor.execute(VerifyEmail(token=await mailed(kontor, who.user_id, CHANGE, email)), ANONYMOUS)


async def undo(kontor: InMemory, user_id: UUID, email: str) -> None:
    await kontor.execute(UndoEmailChange(token=await mailed(kontor, user_id, UNDO, email)), ANONYMOUS)


async def email_of(kontor: InMemory, user_id: UUID) -> str | None:
    user = await kontor.loaded(user_id)
    (email,) = await kontor.personal_data.open([(user_id, PersonalField.USER_EMAIL, user.email)])
    return email


async def signs_in(kontor: InMemory, email: str, password: str = PASSWORD) -> bool:
    try:
        await kontor.execute(SignIn(email=email, password=password), ANONYMOUS)
    except BadCredentials:
        return False
    return True


async def is_free(kontor: InMemory, email: str) -> bool:
    """For another account, whose registering is looked at and not done."""
    claims = await kontor.store.load([email_claim_id(kontor.personal_data.digest(email))])
    return not any(claim.is_taken(user_id=None, now=kontor.clock.now()) for claim, _ in claims.values())  # type: ignore[attr-defined]


async def test_a_new_address_counts_once_its_link_was_followed() -> None:
    kontor, ada, ada_id = await verified_shop()
    await request_change(kontor, ada, NEW)
    assert await email_of(kontor, ada_id) == OLD
    assert (await signs_in(kontor, OLD), await signs_in(kontor, NEW)) == (True, False)
    token = await mailed(kontor, ada_id, CHANGE, NEW)
    for _ in range(2):  # a link may be followed twice
        await kontor.execute(VerifyEmail(token=token), ANONYMOUS)
    assert await email_of(kontor, ada_id) == NEW
    assert (await signs_in(kontor, OLD), await signs_in(kontor, NEW)) == (False, True)
    assert kontor.store.event_types.count("user.email_changed") == 1
    assert (await kontor.loaded(ada_id)).email_verified


async def test_another_address_needs_the_present_password() -> None:
    kontor, ada, _ = await verified_shop()
    with pytest.raises(ReauthenticationRequired):
        await kontor.execute(UpdateProfile(email=NEW), ada)
    with pytest.raises(BadCredentials):
        await kontor.execute(UpdateProfile(email=NEW, current_password="wrong horse battery"), ada)
    assert "user.email_change_requested" not in kontor.store.event_types


async def test_a_taken_address_is_not_told_to_the_account_that_asks_for_it() -> None:
    kontor, ada, ada_id = await verified_shop()
    bob = await kontor.customer("bob@example.com")
    assert bob.user_id is not None
    for email in ("bob@example.com", "free@example.com"):
        await request_change(kontor, ada, email)
    requested = [each for each in kontor.store.event_types if each == "user.email_change_requested"]
    assert len(requested) == 2
    # Who has read a mail to it may learn it.
    await request_change(kontor, ada, "bob@example.com")
    with pytest.raises(AlreadyExists):
        await kontor.execute(VerifyEmail(token=await mailed(kontor, ada_id, CHANGE, "bob@example.com")), ANONYMOUS)
    assert await email_of(kontor, ada_id) == OLD


async def test_a_pending_address_holds_nothing() -> None:
    kontor, ada, ada_id = await verified_shop()
    await request_change(kontor, ada, NEW)
    assert await is_free(kontor, NEW)
    await kontor.customer(NEW)
    with pytest.raises(AlreadyExists):
        await kontor.execute(VerifyEmail(token=await mailed(kontor, ada_id, CHANGE, NEW)), ANONYMOUS)


async def test_only_the_last_address_that_was_asked_for_is_pending() -> None:
    kontor, ada, ada_id = await verified_shop()
    await request_change(kontor, ada, NEW)
    first = await mailed(kontor, ada_id, CHANGE, NEW)
    await request_change(kontor, ada, THIRD)
    with pytest.raises(Invalid):
        await kontor.execute(VerifyEmail(token=first), ANONYMOUS)
    assert await email_of(kontor, ada_id) == OLD


async def test_another_password_stops_a_change_that_is_pending() -> None:
    kontor, ada, ada_id = await verified_shop()
    await request_change(kontor, ada, NEW)
    token = await mailed(kontor, ada_id, CHANGE, NEW)
    await kontor.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD), ada)
    with pytest.raises(Invalid):
        await kontor.execute(VerifyEmail(token=token), ANONYMOUS)
    late = await mailed(kontor, ada_id, CHANGE, NEW)
    with pytest.raises(Invalid):
        await kontor.execute(VerifyEmail(token=late), ANONYMOUS)


async def test_the_former_address_is_kept_for_as_long_as_the_change_can_be_undone() -> None:
    kontor, ada, _ = await verified_shop()
    await change(kontor, ada, NEW)
    kontor.clock.advance(UNDO_WINDOW - timedelta(seconds=1))
    assert not await is_free(kontor, OLD)
    kontor.clock.advance(timedelta(seconds=1))
    assert await is_free(kontor, OLD)
    await kontor.customer(OLD)


async def test_a_thief_who_has_changed_everything_is_thrown_out_by_the_former_address() -> None:
    kontor, ada, ada_id = await verified_shop()
    link = await mailed(kontor, ada_id, UNDO, OLD)
    await change(kontor, ada, NEW)
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    await kontor.execute(ConfirmMfa(code="000001"), ada)
    await kontor.execute(ChangePassword(current=PASSWORD, new=NEW_PASSWORD, mfa_code="000002"), ada)
    await kontor.execute(SignIn(email=NEW, password=NEW_PASSWORD, mfa_code="000003"), ANONYMOUS)
    stolen_reset = await mailed(kontor, ada_id, RESET, NEW)
    kontor.clock.advance(UNDO_WINDOW - timedelta(minutes=1))
    for _ in range(2):  # the second time nothing happens
        await kontor.execute(UndoEmailChange(token=link), ANONYMOUS)
    assert kontor.store.event_types.count("user.email_change_undone") == 1
    assert await email_of(kontor, ada_id) == OLD
    assert kontor.sessions.ended == set(kontor.sessions.opened)
    assert not await signs_in(kontor, OLD, NEW_PASSWORD)
    with pytest.raises(Invalid):
        await kontor.execute(ResetPassword(token=stolen_reset, new=PASSWORD), ANONYMOUS)
    assert await is_free(kontor, NEW)
    fresh = await mailed(kontor, ada_id, RESET, OLD)
    await kontor.execute(ResetPassword(token=fresh, new="a third horse battery"), ANONYMOUS)
    assert await signs_in(kontor, OLD, "a third horse battery")


async def test_a_chain_of_changes_is_undone_to_the_address_of_the_link() -> None:
    kontor, ada, ada_id = await verified_shop()
    await change(kontor, ada, NEW)
    await change(kontor, ada, THIRD)
    of_the_thief = await mailed(kontor, ada_id, UNDO, NEW)
    await undo(kontor, ada_id, OLD)
    assert await email_of(kontor, ada_id) == OLD
    assert (await is_free(kontor, NEW), await is_free(kontor, THIRD)) == (True, True)
    with pytest.raises(Invalid):
        await kontor.execute(UndoEmailChange(token=of_the_thief), ANONYMOUS)


async def test_an_old_second_factor_stays_for_the_mailbox_alone_is_not_the_account() -> None:
    kontor, ada, ada_id = await verified_shop()
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    await kontor.execute(ConfirmMfa(code="000001"), ada)
    kontor.clock.advance(UNDO_WINDOW + timedelta(seconds=1))
    await kontor.execute(UpdateProfile(email=NEW, current_password=PASSWORD, mfa_code="000002"), ada)
    await undo(kontor, ada_id, OLD)
    user = await kontor.loaded(ada_id)
    assert (user.mfa_enabled, user.pending_email) == (True, None)


async def test_a_change_that_is_pending_is_stopped_by_the_present_address() -> None:
    kontor, ada, ada_id = await verified_shop()
    await request_change(kontor, ada, NEW)
    token = await mailed(kontor, ada_id, CHANGE, NEW)
    await undo(kontor, ada_id, OLD)
    assert not await signs_in(kontor, OLD)
    with pytest.raises(Invalid):
        await kontor.execute(VerifyEmail(token=token), ANONYMOUS)


async def test_a_change_is_not_undone_after_the_window() -> None:
    kontor, ada, ada_id = await verified_shop()
    await change(kontor, ada, NEW)
    kontor.clock.advance(UNDO_WINDOW)
    with pytest.raises(Invalid, match="7 days"):
        await undo(kontor, ada_id, OLD)
    assert await email_of(kontor, ada_id) == NEW


async def test_an_address_that_was_never_verified_is_given_up_at_once() -> None:
    kontor, ada, ada_id = await shop()
    await change(kontor, ada, NEW)
    assert await is_free(kontor, OLD)
    with pytest.raises(Invalid):
        await undo(kontor, ada_id, OLD)


async def test_an_address_is_changed_a_few_times_in_the_window_at_most() -> None:
    kontor, ada, _ = await verified_shop()
    for number in range(FORMER_EMAILS_MAX):
        await change(kontor, ada, f"ada{number}@example.com")
    with pytest.raises(IllegalTransition, match="can be changed again from"):
        await request_change(kontor, ada, NEW)
    kontor.clock.advance(UNDO_WINDOW)
    await change(kontor, ada, NEW)
    assert len((await kontor.loaded(ada.user_id or UUID(int=0))).former_emails) == 1


async def test_an_erased_account_keeps_no_address() -> None:
    kontor, ada, ada_id = await verified_shop()
    await change(kontor, ada, NEW)
    await kontor.execute(EraseUser(user_id=ada_id, current_password=PASSWORD), ada)
    assert (await is_free(kontor, OLD), await is_free(kontor, NEW)) == (True, True)
    for email in (OLD, NEW):
        await kontor.customer(email)


@pytest.mark.parametrize("email", [OLD, "nobody@example.com"])
async def test_registering_answers_the_same_for_every_address(email: str) -> None:
    kontor, _, _ = await shop()
    planned: Any = kontor.ports.effects
    request = RegisterUser(email=email, name="Eve", password=PASSWORD)
    first = await kontor.execute(request, ANONYMOUS, key="k")
    again = await kontor.execute(request, ANONYMOUS, key="k")
    assert (first.aggregate_id, first.version, first.heads, first.aggregate) == (first.command_id, 0, (), None)
    assert (again.replayed, again.aggregate_id, again.version, again.heads) == (True, first.command_id, 0, ())
    mailed_to = [effect for _, effect in planned.planned]
    assert mailed_to == (["mail.address_taken"] if email == OLD else [])


async def test_the_owner_of_an_address_is_mailed_once_an_hour_and_keeps_the_password() -> None:
    kontor, _, _ = await shop()
    planned: Any = kontor.ports.effects
    request = RegisterUser(email=OLD, name="Eve", password=NEW_PASSWORD)
    for minutes in (0, 20, 39, 2):
        kontor.clock.advance(timedelta(minutes=minutes))
        await kontor.execute(request, ANONYMOUS)
    assert len(planned.planned) == 2
    assert (await signs_in(kontor, OLD), await signs_in(kontor, OLD, NEW_PASSWORD)) == (True, False)
