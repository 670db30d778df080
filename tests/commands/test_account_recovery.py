"""What mailed links are good for, through the pipeline: an address is verified, a forgotten password is set anew."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from adapters.memory import MemoryEffects
from adapters.memory_tokens import MemoryAccountTokens
from commands.account_recovery import EFFECT, RequestPasswordReset, ResetPassword, VerifyEmail
from commands.credentials import ChangePassword, ConfirmMfa, EnableMfa
from commands.handling import ANONYMOUS, Actor, Outcome
from commands.mailed_links import GOOD_FOR
from commands.ports import TokenPurpose
from commands.sessions import SignIn
from commands.users import EraseUser, RegisterUser, UpdateProfile
from domain.errors import BadCredentials, Invalid, MfaRequired, WeakPassword
from domain.identity import UserId, email_claim_id
from tests.given import PASSWORD, InMemory

NEW_PASSWORD = "another horse battery"
EMAIL = "ada@example.com"
VERIFY, RESET = TokenPurpose.EMAIL_VERIFICATION, TokenPurpose.PASSWORD_RESET


async def shop() -> tuple[InMemory, Actor, UserId]:
    kontor = InMemory()
    actor = await kontor.customer(EMAIL)
    assert actor.user_id is not None
    return kontor, actor, UserId(actor.user_id)


def tokens(kontor: InMemory) -> MemoryAccountTokens:
    assert isinstance(kontor.ports.account_tokens, MemoryAccountTokens)
    return kontor.ports.account_tokens


def planned(kontor: InMemory) -> dict[tuple[UUID, str], UUID]:
    assert isinstance(kontor.ports.effects, MemoryEffects)
    return kontor.ports.effects.planned


async def mailed(kontor: InMemory, user_id: UUID, purpose: TokenPurpose, email: str = EMAIL) -> str:
    """A token as it is mailed to this address."""
    claim_id, now = email_claim_id(kontor.personal_data.digest(email)), kontor.clock.now()
    return await tokens(kontor).make(user_id, purpose, address_id=claim_id, expires_at=now + GOOD_FOR[purpose], now=now)


async def sign_in(kontor: InMemory, password: str, **more: Any) -> Outcome:
    return await kontor.execute(SignIn(email=EMAIL, password=password, **more), ANONYMOUS)


async def test_a_mailed_token_verifies_the_address_however_often_it_is_used() -> None:
    kontor, _, ada_id = await shop()
    token = await mailed(kontor, ada_id, VERIFY)
    for _ in range(3):
        assert (await kontor.execute(VerifyEmail(token=token), ANONYMOUS)).aggregate_id == ada_id
    assert kontor.store.event_types.count("user.email_verified") == 1
    assert (await kontor.loaded(ada_id)).email_verified


async def test_a_token_is_for_the_address_it_was_mailed_to() -> None:
    kontor, _, ada_id = await shop()
    verify, reset = [await mailed(kontor, ada_id, purpose, "bob@example.com") for purpose in (VERIFY, RESET)]
    for request in (VerifyEmail(token=verify), ResetPassword(token=reset, new=NEW_PASSWORD)):
        with pytest.raises(Invalid, match="not the account's any more"):
            await kontor.execute(request, ANONYMOUS)
    assert not (await kontor.loaded(ada_id)).email_verified


@pytest.mark.parametrize("purpose", [VERIFY, RESET])
async def test_a_token_is_good_for_its_time_and_its_purpose(purpose: TokenPurpose) -> None:
    kontor, _, ada_id = await shop()
    token = await mailed(kontor, ada_id, purpose)
    use = {VERIFY: VerifyEmail(token=token), RESET: ResetPassword(token=token, new=NEW_PASSWORD)}
    wrong: Any = use[RESET if purpose is VERIFY else VERIFY]
    kontor.clock.advance(GOOD_FOR[purpose] - timedelta(seconds=1))
    with pytest.raises(Invalid) as refused:
        await kontor.execute(wrong, ANONYMOUS)
    assert refused.value.field == ("token",)
    kontor.clock.advance(timedelta(seconds=1))
    with pytest.raises(Invalid):
        await kontor.execute(use[purpose], ANONYMOUS)
    kontor.clock.advance(-timedelta(seconds=1))
    assert await kontor.execute(use[purpose], ANONYMOUS)


@pytest.mark.parametrize("request_", [VerifyEmail(token="nonsense"), ResetPassword(token="", new=NEW_PASSWORD)])
async def test_a_token_that_nobody_was_mailed_is_refused(request_: Any) -> None:
    kontor, _, _ = await shop()
    with pytest.raises(Invalid, match="ask for another mail"):
        await kontor.execute(request_, ANONYMOUS)


async def test_a_reset_password_is_the_only_one_and_ends_every_session() -> None:
    kontor, _, ada_id = await shop()
    await sign_in(kontor, PASSWORD)
    token = await mailed(kontor, ada_id, RESET)
    await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert kontor.store.event_types[-3:] == [
        "user.email_verified",
        "user.password_changed",
        "user.sessions_revoked",
    ]
    assert kontor.sessions.ended == set(kontor.sessions.opened)
    with pytest.raises(BadCredentials):
        await sign_in(kontor, PASSWORD)
    assert await sign_in(kontor, NEW_PASSWORD)


async def test_a_reset_token_is_good_once_and_so_are_all_that_were_mailed_before() -> None:
    kontor, ada, ada_id = await shop()
    first, second, third = [await mailed(kontor, ada_id, RESET) for _ in range(3)]
    await kontor.execute(ResetPassword(token=second, new=NEW_PASSWORD), ANONYMOUS)
    for token in (first, second):
        with pytest.raises(Invalid):
            await kontor.execute(ResetPassword(token=token, new="a third horse battery"), ANONYMOUS)
    fourth = await mailed(kontor, ada_id, RESET)
    await kontor.execute(ChangePassword(current=NEW_PASSWORD, new=PASSWORD), ada)
    for token in (third, fourth):
        with pytest.raises(Invalid):
            await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert await sign_in(kontor, PASSWORD)


async def test_of_many_who_use_one_token_at_once_one_sets_the_password() -> None:
    kontor, _, ada_id = await shop()
    token = await mailed(kontor, ada_id, RESET)
    wanted = [f"battery horse number {number}" for number in range(5)]
    done = await asyncio.gather(
        *(kontor.execute(ResetPassword(token=token, new=each), ANONYMOUS) for each in wanted), return_exceptions=True
    )
    (winner,) = [place for place, each in enumerate(done) if isinstance(each, Outcome)]
    assert sum(isinstance(each, Invalid) for each in done) == len(wanted) - 1
    assert kontor.store.event_types.count("user.password_changed") == 1
    assert await sign_in(kontor, wanted[winner])


async def test_who_comes_before_the_first_has_set_the_password_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    kontor, _, ada_id = await shop()
    token, append = await mailed(kontor, ada_id, RESET), kontor.store.append

    async def second_comes(wanted: Any) -> Any:
        with pytest.raises(Invalid):
            await kontor.execute(ResetPassword(token=token, new="a third horse battery"), ANONYMOUS)
        return await append(wanted)

    monkeypatch.setattr(kontor.store, "append", second_comes)
    await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert kontor.store.event_types.count("user.password_changed") == 1


async def test_a_reset_that_loses_a_race_is_decided_again_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    kontor, ada, ada_id = await shop()
    token, append, lost = await mailed(kontor, ada_id, RESET), kontor.store.append, [False]

    async def overtaken(wanted: Any) -> Any:
        if wanted.command_name == "ResetPassword" and not lost[0]:
            lost[0] = True
            await kontor.execute(UpdateProfile(name="Ada L."), ada)
        return await append(wanted)

    monkeypatch.setattr(kontor.store, "append", overtaken)
    await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert lost == [True]
    assert await sign_in(kontor, NEW_PASSWORD)


@pytest.mark.parametrize("new", ["short", EMAIL, "x" * 73])
async def test_a_weak_password_leaves_the_token_good(new: str) -> None:
    kontor, _, ada_id = await shop()
    token = await mailed(kontor, ada_id, RESET)
    with pytest.raises(WeakPassword) as refused:
        await kontor.execute(ResetPassword(token=token, new=new), ANONYMOUS)
    assert refused.value.field == ("new",)
    assert await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)


async def test_a_reset_password_does_not_give_the_second_factor_up() -> None:
    kontor, ada, ada_id = await shop()
    await kontor.execute(VerifyEmail(token=await mailed(kontor, ada_id, VERIFY)), ANONYMOUS)
    await kontor.execute(EnableMfa(current_password=PASSWORD), ada)
    await kontor.execute(ConfirmMfa(code="000001"), ada)
    token = await mailed(kontor, ada_id, RESET)
    await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    with pytest.raises(MfaRequired):
        await sign_in(kontor, NEW_PASSWORD)


async def test_a_squatter_with_a_second_factor_holds_no_address() -> None:
    kontor, squatter, account_id = await shop()
    await kontor.execute(EnableMfa(current_password=PASSWORD), squatter)
    await kontor.execute(ConfirmMfa(code="000001"), squatter)
    await sign_in(kontor, PASSWORD, mfa_code="000002")
    token = await mailed(kontor, account_id, RESET)
    await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert kontor.sessions.ended == set(kontor.sessions.opened)
    assert await sign_in(kontor, NEW_PASSWORD)
    with pytest.raises(BadCredentials):
        await sign_in(kontor, PASSWORD, mfa_code="000003")
    assert (await kontor.loaded(account_id)).email_verified


async def test_an_erased_account_has_no_tokens() -> None:
    kontor, ada, ada_id = await shop()
    verify, reset = await mailed(kontor, ada_id, VERIFY), await mailed(kontor, ada_id, RESET)
    await kontor.execute(EraseUser(user_id=ada_id, current_password=PASSWORD), ada)
    assert tokens(kontor).kept == {}
    late = await mailed(kontor, ada_id, RESET)
    for token in (reset, late):
        with pytest.raises(Invalid):
            await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    with pytest.raises(Invalid):
        await kontor.execute(VerifyEmail(token=verify), ANONYMOUS)


async def test_asking_for_a_reset_says_and_does_the_same_for_every_address() -> None:
    """Nothing of the log is read, so neither the answer nor its time can tell who has an account."""
    kontor, _, _ = await shop()

    async def load(_ids: Any) -> Any:
        raise AssertionError("the account was looked up")

    kontor.store.load = load  # type: ignore[method-assign]
    stored = len(kontor.store.stored)
    answers = [await kontor.execute(RequestPasswordReset(email=each), ANONYMOUS) for each in (EMAIL, "no@one.example")]
    assert [each.aggregate_id for each in answers] == [each.command_id for each in answers]
    same = {(each.version, each.replayed, each.heads, each.aggregate, tuple(each.secret)) for each in answers}
    assert same == {(0, False, (), None, ())}
    claims = [email_claim_id(kontor.personal_data.digest(each)) for each in (EMAIL, "no@one.example")]
    assert list(planned(kontor).values()) == claims
    assert {effect for _, effect in planned(kontor)} == {EFFECT}
    assert len(kontor.store.stored) == stored


async def test_a_minute_has_one_mail_however_often_and_however_the_address_is_written() -> None:
    kontor, _, _ = await shop()
    for email in (EMAIL, " ADA@example.com "):
        for key in (None, "k1", "k2"):
            await kontor.execute(RequestPasswordReset(email=email), ANONYMOUS, key=key and f"{key}{email}")
    assert len(planned(kontor)) == 1
    kontor.clock.advance(timedelta(seconds=59))
    await kontor.execute(RequestPasswordReset(email=EMAIL), ANONYMOUS)
    assert len(planned(kontor)) == 1
    kontor.clock.advance(timedelta(seconds=1))
    await kontor.execute(RequestPasswordReset(email=EMAIL), ANONYMOUS)
    assert len(planned(kontor)) == 2


async def test_a_repeated_request_with_its_key_is_answered_as_the_first() -> None:
    kontor, _, _ = await shop()
    first, again = [
        await kontor.execute(RequestPasswordReset(email="no@one.example"), ANONYMOUS, key="k") for _ in range(2)
    ]
    assert (again.replayed, again.aggregate_id, again.version) == (True, first.aggregate_id, 0)


async def test_what_is_no_address_is_invalid() -> None:
    kontor, _, _ = await shop()
    with pytest.raises(Invalid):
        await kontor.execute(RequestPasswordReset(email="nonsense"), ANONYMOUS)
    assert planned(kontor) == {}


async def test_an_account_without_a_password_gets_its_first_by_a_mailed_link() -> None:
    kontor = InMemory()
    outcome = await kontor.execute(RegisterUser(email=EMAIL, name="Ada", password=None))
    token = await mailed(kontor, outcome.aggregate_id, RESET)
    await kontor.execute(ResetPassword(token=token, new=NEW_PASSWORD), ANONYMOUS)
    assert await sign_in(kontor, NEW_PASSWORD)
