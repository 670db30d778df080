"""The mails about addresses: which of an account's addresses each goes to, and what its link is good for."""

from __future__ import annotations

from uuid import UUID

import pytest

from adapters.wiring import Kontor
from commands.account_recovery import ResetPassword, VerifyEmail
from commands.email_changes import UndoEmailChange
from commands.handling import ANONYMOUS, Actor
from commands.sessions import SignIn
from commands.users import RegisterUser, UpdateProfile
from domain.disclosure import PersonalField
from domain.errors import BadCredentials, Invalid
from domain.identity import UserId
from domain.users import User
from tests.given import PASSWORD
from tests.streams.test_mailing import EMAIL, NAME, NEW_PASSWORD, Post, claim_of, post

pytestmark = pytest.mark.servers
__all__ = ["post"]
NEW, THIRD = "ada@new.example", "ada@third.example"


async def user_of(post: Post, user_id: UUID) -> User:
    found = (await post.kontor.store.load([user_id]))[user_id][0]
    assert isinstance(found, User)
    return found


async def email_of(post: Post, user_id: UUID) -> str | None:
    user = await user_of(post, user_id)
    (email,) = await post.kontor.personal_data.open([(user_id, PersonalField.USER_EMAIL, user.email)])
    return email


async def ask(post: Post, user_id: UUID, email: str) -> int:
    """Have the address changed; the version of the event that says so."""
    await post.do(UpdateProfile(email=email, current_password=PASSWORD), Actor.user(user_id, []))
    return (await user_of(post, user_id)).version


async def verified(post: Post) -> UserId:
    customer = await post.registered()
    await post.send("email_verification", customer)
    await post.do(VerifyEmail(token=post.token()), ANONYMOUS)
    return customer


async def changed(post: Post, customer: UUID, email: str) -> int:
    """Asked for and confirmed by its link; the version of the event that changed it."""
    version = await ask(post, customer, email)
    await post.send("email_change", customer, version=version)
    assert post.taken.messages[-1]["To"] == email
    await post.do(VerifyEmail(token=post.token()), ANONYMOUS)
    return (await user_of(post, customer)).version


async def test_the_new_address_is_asked_and_the_present_one_is_told(post: Post) -> None:
    customer = await verified(post)
    version = await ask(post, customer, NEW)
    await post.send("email_change", customer, version=version)
    assert (post.taken.messages[-1]["To"], NAME in post.text()) == (NEW, False)
    confirming = post.token()
    await post.send("email_change_requested", customer, version=version)
    assert post.taken.messages[-1]["To"] == EMAIL
    assert "https://shop.example/undo-email-change#token=" in post.text()
    await post.do(VerifyEmail(token=confirming), ANONYMOUS)
    assert await email_of(post, customer) == NEW
    # The link of the first mail is good for the whole time, too.
    await post.do(UndoEmailChange(token=post.token()), ANONYMOUS)
    assert await email_of(post, customer) == EMAIL


async def test_a_change_is_undone_by_the_link_that_the_former_address_gets(post: Post) -> None:
    customer = await verified(post)
    first = await changed(post, customer, NEW)
    second = await changed(post, customer, THIRD)
    # However late: each goes to the address that its change has replaced.
    await post.send("email_changed", customer, version=second)
    assert post.taken.messages[-1]["To"] == NEW
    thief = post.token()
    await post.send("email_changed", customer, version=first)
    assert post.taken.messages[-1]["To"] == EMAIL
    await post.do(UndoEmailChange(token=post.token()), ANONYMOUS)
    with pytest.raises(Invalid):
        await post.do(UndoEmailChange(token=thief), ANONYMOUS)
    assert await email_of(post, customer) == EMAIL
    with pytest.raises(BadCredentials):
        await post.do(SignIn(email=EMAIL, password=PASSWORD), ANONYMOUS)
    await post.send("password_reset", await claim_of(post, EMAIL))
    await post.do(ResetPassword(token=post.token(), new=NEW_PASSWORD), ANONYMOUS)
    assert await post.do(SignIn(email=EMAIL, password=NEW_PASSWORD), ANONYMOUS) == customer


async def test_a_request_that_was_replaced_or_confirmed_sends_no_mail(post: Post) -> None:
    customer = await verified(post)
    first = await ask(post, customer, NEW)
    await ask(post, customer, THIRD)
    sent = len(post.taken.messages)
    for template in ("email_change", "email_change_requested"):
        await post.send(template, customer, version=first)
    assert len(post.taken.messages) == sent


async def test_the_owner_of_a_taken_address_is_mailed_instead(post: Post) -> None:
    bob = await post.registered("bob@example.com")
    customer = await verified(post)
    version = await ask(post, customer, "bob@example.com")
    await post.send("email_change", customer, version=version)
    assert (post.taken.messages[-1]["To"], "has one" in post.text()) == ("bob@example.com", True)
    assert "#token=" not in post.text()
    await post.send("address_taken", await claim_of(post, "bob@example.com"))
    assert post.taken.messages[-1]["To"] == "bob@example.com"
    assert await email_of(post, bob) == "bob@example.com"


async def test_an_address_that_is_kept_is_told_at_that_address_and_gets_no_reset(post: Post) -> None:
    customer = await verified(post)
    await changed(post, customer, NEW)
    await post.send("address_taken", await claim_of(post, EMAIL))
    assert post.taken.messages[-1]["To"] == EMAIL
    sent = len(post.taken.messages)
    await post.send("password_reset", await claim_of(post, EMAIL))
    assert len(post.taken.messages) == sent


async def test_registering_a_taken_address_stores_nothing_and_has_its_owner_mailed(post: Post) -> None:
    customer = await post.registered()
    before = await rows(post.kontor)
    for _ in range(2):
        await post.do(RegisterUser(email=EMAIL, name="Eve", password=NEW_PASSWORD), ANONYMOUS)
    assert await rows(post.kontor) == before
    async with post.kontor.pool.connection() as connection:
        planned = await connection.execute("SELECT subject_id FROM effects WHERE effect = 'mail.address_taken'")
        assert [row[0] for row in await planned.fetchall()] == [await claim_of(post, EMAIL)]
    assert await post.do(SignIn(email=EMAIL, password=PASSWORD), ANONYMOUS) == customer


async def rows(kontor: Kontor) -> list[int]:
    counts = []
    async with kontor.pool.connection() as connection:
        for table in ("events", "person_keys", "credentials"):
            found = await connection.execute(f"SELECT count(*) FROM {table}".encode())  # ours alone
            counts.append((await found.fetchone() or (0,))[0])
    return counts
