"""Which passwords may be set: not the common ones, however they are dressed up, and none made of who sets it."""

from __future__ import annotations

import contextlib
import time

import pytest

from cli.logins import DEMO_LOGINS
from commands.credentials import ChangePassword
from commands.handling import ANONYMOUS, Actor
from commands.passwords import OF_THE_DEMO, PASSWORD_BYTES_MAX, require_strong
from commands.users import RegisterUser
from domain.disclosure import Secret
from domain.errors import WeakPassword
from tests.given import PASSWORD, InMemory

ADA = {"email": "ada.lovelace@analytical.example", "name": "Ada Lovelace", "host": "www.teahouse.example"}
COMMON = [
    "Password123!",
    "P@ssw0rd2024",
    "pa$$word1234",
    "dr0wssap1234",
    "passwordpassword",
    "trustno1trustno1",
    "iloveyou2024",
    "!!letmein!!99",
    "baseball1baseball",
    "university2026",
    "Christopher!1",
]
WALKS = ["1234567890", "aaaaaaaaaaaa", "abababababab", "qwertyuiop12", "asdfghjkl;12", "qazwsxedcrfv", "1q2w3e4r5t6y",
         "abcdefghijkl", "zyxwvutsrq", "zxcvbnm,./123", "0987654321!"]  # fmt: skip
OWN = ["ada.lovelace1", "Lovelace1815!", "ada-lovelace-2026", "4d4l0v3l4c3!!", "ecalevolada99", "analytical2026",
       "TeaHouse-2026", "ada@analytical", "kontor-demo-staff", "K0nt0r-2026!!", "kontor-admin-1", "staffpassword",
       *(each.password for each in DEMO_LOGINS.values())]  # fmt: skip
GOOD = [PASSWORD, "correct horse battery staple", "another horse battery", "the new horse battery 7f3a2b",
        "Tr0ub4dor&3x", "lovely tea in may", "adamantium shield", "xkcd-936-is-not-mine",
        "ünïcödé wörter hier"]  # fmt: skip


@pytest.mark.parametrize("password", [*COMMON, *WALKS, *OWN])
def test_a_common_typed_or_personal_password_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        require_strong(Secret(password), **ADA)
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", GOOD)
def test_words_that_do_not_belong_together_are_taken(password: str) -> None:
    require_strong(Secret(password), **ADA)


def test_a_hostile_password_costs_no_time() -> None:
    for text in ("4@8({[<369&1!|0$57+%2" * 3, "p@s$w0rD" * 9, "$5$5@4@4!1!10000" * 4, "a1" * 36):
        started = time.perf_counter()
        with contextlib.suppress(WeakPassword):
            require_strong(Secret(text[:PASSWORD_BYTES_MAX]), **ADA)
        assert time.perf_counter() - started < 2  # the first loads the list


def test_the_demos_passwords_are_for_the_demo_alone() -> None:
    for login in DEMO_LOGINS.values():
        require_strong(Secret(login.password), email=login.email, name=login.name, actor=OF_THE_DEMO)
        with pytest.raises(WeakPassword):
            require_strong(Secret(login.password), email=login.email, name=login.name, actor="system:operator")


async def test_the_rule_holds_wherever_a_password_is_set() -> None:
    kontor = InMemory()
    ada = {"email": ADA["email"], "name": ADA["name"]}
    with pytest.raises(WeakPassword):
        await kontor.execute(RegisterUser(**ada, password="Lovelace1815!"), ANONYMOUS)
    await kontor.execute(RegisterUser(**ada, password=PASSWORD), ANONYMOUS)
    who = Actor.user(await kontor.account_of(ADA["email"]), [])
    with pytest.raises(WeakPassword):
        await kontor.execute(ChangePassword(current=PASSWORD, new="Lovelace1815!"), who)
