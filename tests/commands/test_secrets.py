"""Passwords, tokens and codes: nothing of them is in what is stored, digested or shown of a command."""

from __future__ import annotations

import hmac
import json

import pytest

from commands.account_recovery import RequestPasswordReset
from commands.credentials import ChangePassword
from commands.handling import ANONYMOUS
from commands.requests import request_digest
from commands.sessions import SignIn
from commands.users import RegisterUser
from domain.errors import BadCredentials, IdempotencyKeyMismatch
from tests.given import CUSTOMER, PASSWORD, InMemory

ADA = {"email": "ada@example.com", "name": "Ada"}


def test_who_has_the_digest_and_its_key_cannot_try_passwords() -> None:
    """The digest does not depend on the password, so no guess can be told from another."""
    key = b"the key of the digests"
    stored = request_digest(RegisterUser(**ADA, password=PASSWORD), key=key)
    assert stored == request_digest(RegisterUser(**ADA, password="another horse battery"), key=key)
    guessed = json.dumps({**ADA, "password": PASSWORD}, sort_keys=True, separators=(",", ":"))
    assert stored != hmac.digest(key, guessed.encode(), "sha256")


async def test_a_key_tells_other_content_but_not_another_password() -> None:
    kontor = InMemory()
    first = await kontor.execute(RegisterUser(**ADA, password=PASSWORD), CUSTOMER, key="k")
    again = await kontor.execute(RegisterUser(**ADA, password="another horse battery"), CUSTOMER, key="k")
    assert (again.replayed, again.aggregate_id) == (True, first.aggregate_id)
    with pytest.raises(BadCredentials):  # what was set is the first one
        await kontor.execute(SignIn(email=ADA["email"], password="another horse battery"), ANONYMOUS)
    with pytest.raises(IdempotencyKeyMismatch):
        await kontor.execute(RegisterUser(**ADA | {"name": "Bob"}, password=PASSWORD), CUSTOMER, key="k")


async def test_a_sign_in_ignores_a_key_so_that_no_password_is_answered_with_the_result_of_another() -> None:
    kontor = InMemory()
    await kontor.execute(RegisterUser(**ADA, password=PASSWORD), ANONYMOUS)
    assert (await kontor.execute(SignIn(email=ADA["email"], password=PASSWORD), ANONYMOUS, key="k")).secret
    with pytest.raises(BadCredentials):
        await kontor.execute(SignIn(email=ADA["email"], password="another horse battery"), ANONYMOUS, key="k")
    assert (await kontor.execute(SignIn(email=ADA["email"], password=PASSWORD), ANONYMOUS, key="k")).secret


async def test_nothing_secret_is_in_the_repr_of_a_command_or_its_outcome() -> None:
    kontor = InMemory()
    await kontor.execute(RegisterUser(**ADA, password=PASSWORD), ANONYMOUS)
    request = SignIn(email=ADA["email"], password=PASSWORD, mfa_code="123456")
    outcome = await kontor.execute(request, ANONYMOUS)
    shown = f"{request} {outcome!r} {ChangePassword(current=PASSWORD, new=PASSWORD)} {kontor.store.appends}"
    assert PASSWORD not in shown
    assert "123456" not in shown
    assert outcome.secret["refresh_token"] not in shown
    assert "ada@example.com" in repr(RequestPasswordReset(email="ada@example.com"))  # the search finds what is there
