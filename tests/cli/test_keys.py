"""`kontor keys rotate`: another master key, and everything that was stored under the one before still opens."""

from __future__ import annotations

import base64
import os
import subprocess
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from adapters.master_keys import WrongMasterKey
from adapters.mfa import STEP_S, code_at
from adapters.settings import Settings
from adapters.wiring import Kontor, open_kontor
from commands.credentials import ConfirmMfa, EnableMfa
from commands.handling import ANONYMOUS, Actor
from commands.sessions import SignIn
from commands.users import RegisterUser
from domain.disclosure import PersonalField
from domain.errors import AlreadyExists
from domain.users import Role, User
from tests.cli.given import run_kontor
from tests.given import PASSWORD, SYSTEM

pytestmark = pytest.mark.servers
ADA = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
CAROL = RegisterUser(email="carol@example.com", name="Carol", password=PASSWORD)


def with_keys(settings: Settings, *keys: bytes) -> Settings:
    """The installation under these master keys, the present one first."""
    first, *earlier = [base64.b64encode(key).decode() for key in keys]
    return settings.model_copy(
        update={"master_key": SecretStr(first), "previous_master_keys": SecretStr(",".join(earlier))}
    )


def rotate(settings: Settings) -> subprocess.CompletedProcess[str]:
    """As an operator does it."""
    return run_kontor(settings, "keys", "rotate")


def code_of(kontor: Kontor, secret: bytes) -> str:
    """The code that is shown one step from now: not one that was taken before."""
    return code_at(secret, int(kontor.ports.clock.now().timestamp()) // STEP_S + 1)


async def test_after_a_rotation_everything_opens_without_the_key_before(settings: Settings) -> None:
    old, new = os.urandom(32), os.urandom(32)
    async with open_kontor(with_keys(settings, old), name="before") as kontor:
        made = await kontor.pipeline.execute(ADA, actor=SYSTEM)
        await kontor.pipeline.execute(CAROL, actor=ANONYMOUS, idempotency_key="k")
        actor = Actor.user(made.aggregate_id, [Role.CUSTOMER])
        uri = (await kontor.pipeline.execute(EnableMfa(current_password=PASSWORD), actor=actor)).secret[
            "provisioning_uri"
        ]
        secret = base64.b32decode(parse_qs(urlsplit(uri).query)["secret"][0])
        step = int(kontor.ports.clock.now().timestamp()) // STEP_S
        await kontor.pipeline.execute(ConfirmMfa(code=code_at(secret, step - 1)), actor=actor)
        endpoint = made.aggregate_id
        webhook_secret = kontor.ports.webhook_secrets.make()
        await kontor.ports.webhook_secrets.keep(endpoint, webhook_secret, now=kontor.ports.clock.now())

    # Nobody stops for it: processes with both keys work before, meanwhile and after.
    both = with_keys(settings, new, old)
    async with open_kontor(both, name="meanwhile") as kontor:
        await kontor.pipeline.execute(
            RegisterUser(email="bob@example.com", name="Bob", password=PASSWORD), actor=ANONYMOUS
        )
        done = rotate(both)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "keys wrapped anew: 6\n"  # Ada, Carol, three stable ones, the webhook; Bob's is new
        assert rotate(both).stdout == "keys wrapped anew: 0\n"
        with pytest.raises(AlreadyExists):
            await kontor.pipeline.execute(ADA, actor=SYSTEM)

    async with open_kontor(with_keys(settings, new), name="after") as kontor:
        user = (await kontor.store.load([made.aggregate_id]))[made.aggregate_id][0]
        assert isinstance(user, User)
        opened = await kontor.personal_data.open(
            [(user.id, PersonalField.USER_EMAIL, user.email), (user.id, PersonalField.USER_NAME, user.name)]
        )
        assert opened == ["ada@example.com", "Ada"]
        signed_in = await kontor.pipeline.execute(
            SignIn(email=ADA.email, password=PASSWORD, mfa_code=code_of(kontor, secret)), actor=ANONYMOUS
        )
        assert signed_in.aggregate_id == made.aggregate_id
        with pytest.raises(AlreadyExists):
            await kontor.pipeline.execute(ADA, actor=SYSTEM)
        assert (await kontor.pipeline.execute(CAROL, actor=ANONYMOUS, idempotency_key="k")).replayed
        # The key of an anonymous caller is theirs alone: with other content it is another command.
        other = RegisterUser(email="x@example.com", name="x", password=PASSWORD)
        assert not (await kontor.pipeline.execute(other, actor=ANONYMOUS, idempotency_key="k")).replayed
        assert await kontor.ports.webhook_secrets.current(endpoint, now=kontor.ports.clock.now()) == [webhook_secret]
    with pytest.raises(WrongMasterKey):
        async with open_kontor(with_keys(settings, old), name="too late"):
            pass


async def test_an_unknown_master_key_is_told_in_one_sentence_and_changes_nothing(settings: Settings) -> None:
    old = os.urandom(32)
    async with open_kontor(with_keys(settings, old), name="before") as kontor:
        await kontor.pipeline.execute(ADA, actor=ANONYMOUS)
    done = rotate(with_keys(settings, os.urandom(32)))
    assert done.returncode == 1
    assert "KONTOR_PREVIOUS_MASTER_KEYS" in done.stderr
    assert "Traceback" not in done.stderr
    async with open_kontor(with_keys(settings, old), name="after") as kontor:
        assert (await kontor.pipeline.execute(SignIn(email=ADA.email, password=PASSWORD), actor=ANONYMOUS)).secret
