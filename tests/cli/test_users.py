"""`kontor users`: the first ADMIN, on an installation where nothing else has happened."""

from __future__ import annotations

import pytest

from adapters.settings import Settings
from adapters.wiring import open_kontor
from commands.users import RegisterUser
from domain.users import Role, User
from tests.cli.given import run_kontor
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers


async def test_the_first_admin_is_made_of_a_registered_account_and_unmade(settings: Settings) -> None:
    async with open_kontor(settings, name="test") as kontor:
        register = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
        ada = (await kontor.pipeline.execute(register, actor=SYSTEM)).aggregate_id

        async def roles() -> set[Role]:
            user = (await kontor.store.load([ada]))[ada][0]
            assert isinstance(user, User)
            return set(user.roles)

        done = run_kontor(settings, "users", "grant", " Ada@Example.com", "admin")
        assert (done.returncode, done.stdout) == (0, f"{ada}: ADMIN, CUSTOMER\n")
        assert await roles() == {Role.CUSTOMER, Role.ADMIN}
        assert run_kontor(settings, "users", "revoke", "ada@example.com", "ADMIN").stdout == f"{ada}: CUSTOMER\n"
        assert await roles() == {Role.CUSTOMER}


def test_an_address_without_an_account_is_told_in_one_sentence(settings: Settings) -> None:
    done = run_kontor(settings, "users", "grant", "nobody@example.com", "ADMIN")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "register it first" in done.stderr
