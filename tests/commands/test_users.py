"""Accounts: registering and signing in."""

from __future__ import annotations

import pytest

from commands.handling import ANONYMOUS
from commands.passwords import PASSWORD_BYTES_MAX, PASSWORD_LENGTH_MIN
from commands.sessions import SignIn
from commands.users import RegisterUser
from domain.errors import AlreadyExists, BadCredentials, DomainError, Forbidden, Invalid, WeakPassword
from domain.sessions import SignInAttempt
from domain.users import Role
from tests.given import ADMIN, PASSWORD, STAFF, SYSTEM, InMemory

NOT_ADDRESSES = [
    "",
    "ada",
    "ada@",
    "@example.com",
    "ada@example",
    "a b@example.com",
    "ada@example..com",
    "a@b@example.com",
    "a" * 243 + "@example.com",
    "ada\0@example.com",
]
WEAK_PASSWORDS = [
    "x" * (PASSWORD_LENGTH_MIN - 1),
    "x" * (PASSWORD_BYTES_MAX + 1),
    "é" * (PASSWORD_BYTES_MAX // 2 + 1),
    "ada@example.com",
    "ADA@example.com",
]


def register(email: str = "ada@example.com", **more: object) -> RegisterUser:
    return RegisterUser(**({"email": email, "name": "Ada", "password": PASSWORD} | more))


async def test_registering_claims_the_address_and_makes_a_customer() -> None:
    kontor = InMemory()
    await kontor.execute(register(), ANONYMOUS)
    assert kontor.store.event_types == ["email.claimed", "user.registered"]
    user = await kontor.loaded(await kontor.account_of("ada@example.com"))
    assert user.roles == (Role.CUSTOMER,)
    assert kontor.personal_data.opened(user.id, user.email) == "ada@example.com"
    assert kontor.personal_data.opened(user.id, user.name) == "Ada"


async def test_no_name_address_or_password_is_in_the_log() -> None:
    kontor = InMemory()
    await kontor.execute(register(name="Lovelace"), ANONYMOUS, key="k")
    log = b"".join(stored.state for stored in kontor.store.stored)
    for secret in (b"ada", b"Lovelace", PASSWORD.encode()):
        assert secret not in log
        assert secret not in repr(kontor.store.appends).encode()


@pytest.mark.parametrize("email", ["ada@example.com", "  ADA@Example.COM "])
async def test_an_address_is_registered_once_whatever_its_case_and_margins(email: str) -> None:
    kontor = InMemory()
    await kontor.execute(register(), ANONYMOUS)
    await kontor.execute(register(email), ANONYMOUS)
    with pytest.raises(AlreadyExists) as refused:  # our own processes learn it
        await kontor.execute(register(email))
    assert refused.value.field == ("email",)
    assert len(kontor.store.stored) == 2


@pytest.mark.parametrize("email", NOT_ADDRESSES)
async def test_what_is_not_an_address_is_invalid(email: str) -> None:
    with pytest.raises(Invalid) as refused:
        await InMemory().execute(register(email), ANONYMOUS)
    assert refused.value.field == ("email",)


async def test_the_longest_address_is_good() -> None:
    await InMemory().execute(register("a" * 242 + "@example.com"), ANONYMOUS)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "A\0da"])
async def test_a_name_that_cannot_be_stored_is_invalid(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        await InMemory().execute(register(name=name), ANONYMOUS)
    assert refused.value.field == ("name",)


@pytest.mark.parametrize("password", WEAK_PASSWORDS)
async def test_a_weak_password_is_refused(password: str) -> None:
    kontor = InMemory()
    with pytest.raises(WeakPassword) as refused:
        await kontor.execute(register(password=password), ANONYMOUS)
    assert refused.value.field == ("password",)
    assert kontor.store.stored == []


@pytest.mark.parametrize(
    "password",
    [
        "q7Vb2xKp9m"[:PASSWORD_LENGTH_MIN],
        ("wander copper violin " * 9)[:PASSWORD_BYTES_MAX],
        ("éüñåçøëîú" * 9)[: PASSWORD_BYTES_MAX // 2],
    ],
)
async def test_a_password_at_the_bounds_is_good(password: str) -> None:
    kontor = InMemory()
    await kontor.execute(register(password=password), ANONYMOUS)
    await kontor.execute(SignIn(email="ada@example.com", password=password), ANONYMOUS)


@pytest.mark.parametrize("roles", [(role,) for role in Role if role is not Role.CUSTOMER] + [(), tuple(Role)], ids=str)
@pytest.mark.parametrize("actor", [ANONYMOUS, STAFF, ADMIN], ids=["anonymous", "staff", "admin"])
async def test_nobody_registers_with_other_roles_than_customer(actor: object, roles: tuple[Role, ...]) -> None:
    kontor = InMemory()
    with pytest.raises(Forbidden):
        await kontor.execute(register(roles=roles), actor)
    assert kontor.store.stored == []


async def test_nobody_registers_without_a_password() -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(register(password=None), ANONYMOUS)


async def test_the_system_registers_any_role_and_an_account_nobody_can_sign_in_to() -> None:
    kontor = InMemory()
    outcome = await kontor.execute(register(password=None, roles=(Role.STAFF, Role.ADMIN)), SYSTEM)
    assert (await kontor.loaded(outcome.aggregate_id)).roles == (Role.STAFF, Role.ADMIN)
    with pytest.raises(BadCredentials):
        await kontor.execute(SignIn(email="ada@example.com", password=PASSWORD), ANONYMOUS)


async def test_signing_in_opens_a_session_and_hands_its_token_to_the_caller_alone() -> None:
    kontor = InMemory()
    user_id = (await kontor.customer()).user_id
    outcome = await kontor.execute(SignIn(email=" Ada@Example.com", password=PASSWORD, user_agent="Firefox"), ANONYMOUS)
    ((session_id, session),) = kontor.sessions.opened.items()
    assert session == (user_id, "Firefox", kontor.clock.now())
    assert outcome.secret["session_id"] == str(session_id)
    event = kontor.store.events[-1]
    assert isinstance(event, SignInAttempt.Created)
    assert (event.user_id, event.session_id) == (user_id, session_id)
    assert outcome.secret["refresh_token"].encode() not in kontor.store.stored[-1].state
    assert outcome.secret["refresh_token"] not in repr(kontor.store.appends)


async def test_a_failed_sign_in_is_recorded_and_then_refused() -> None:
    kontor = InMemory()
    user_id = (await kontor.customer()).user_id
    with pytest.raises(BadCredentials):
        await kontor.execute(SignIn(email="ada@example.com", password="wrong horse battery"), ANONYMOUS)
    event = kontor.store.events[-1]
    assert isinstance(event, SignInAttempt.Failed)
    assert (event.user_id, event.reason) == (user_id, "wrong password")
    assert kontor.sessions.opened == {}


@pytest.mark.parametrize("email", ["bob@example.com", "", "no address"])
async def test_an_unknown_user_is_refused_with_the_same_words_and_nothing_is_recorded(email: str) -> None:
    kontor = InMemory()
    await kontor.customer()
    stored = len(kontor.store.stored)
    said: list[DomainError] = []
    for sign_in in (SignIn(email=email, password=PASSWORD), SignIn(email="ada@example.com", password="wrong")):
        with pytest.raises(BadCredentials) as refused:
            await kontor.execute(sign_in, ANONYMOUS)
        said.append(refused.value)
    assert (said[0].message, said[0].field) == (said[1].message, said[1].field)
    assert kontor.store.event_types[stored:] == ["sign_in.failed"]
