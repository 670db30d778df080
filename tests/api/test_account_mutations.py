"""What the mutations about accounts answer, on the in-memory twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from adapters.access_tokens import AccessTokens
from adapters.rate_limits import RateLimits
from adapters.redis_views import connect
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from api.graphql.users import ERASED
from commands.handling import ANONYMOUS, Actor
from commands.mailed_links import GOOD_FOR
from commands.ports import TokenPurpose
from domain.identity import email_claim_id
from tests.given import ADMIN, PASSWORD, STAFF, InMemory

NEW_PASSWORD = "another horse battery"
DONE = "{ ok userErrors { code field } receipt { version replayed } }"
SHOWN = "{ ok userErrors { code field } receipt { version replayed } user { id name email roles mfaEnabled } }"
FACTOR = "{ ok userErrors { code field } receipt { version } provisioningUri recoveryCodes }"
SIGN_IN = """mutation($password: String!, $code: String) {
  signIn(input: {email: "ada@example.com", password: $password, mfaCode: $code}) {
    ok userErrors { code field } tokens { accessToken refreshToken expiresIn } user { id mfaEnabled } } }"""
PROFILE = f"""mutation($name: String, $email: String, $key: ID) {{
  updateProfile(name: $name, email: $email, currentPassword: \"{PASSWORD}\", idempotencyKey: $key) {SHOWN} }}"""
PASSWORDS = f"mutation($current: String!, $new: String!) {{ changePassword(current: $current, new: $new) {DONE} }}"
SIGN_OUT = f"mutation($session: ID) {{ signOut(sessionId: $session) {DONE} }}"
ENABLE = f'mutation {{ enableMfa(currentPassword: "{PASSWORD}") {FACTOR} }}'
CONFIRM = f"mutation($code: String!) {{ confirmMfa(code: $code) {FACTOR} }}"
DISABLE = f'mutation($code: String!) {{ disableMfa(code: $code, currentPassword: "{PASSWORD}") {DONE} }}'
GRANT = f"""mutation($id: ID!, $role: Role!, $key: ID) {{
  grantRole(userId: $id, role: $role, idempotencyKey: $key) {SHOWN} }}"""
REVOKE = f"""mutation($id: ID!, $role: Role!, $key: ID) {{
  revokeRole(userId: $id, role: $role, idempotencyKey: $key) {SHOWN} }}"""
VERIFY = f"mutation($token: String!) {{ verifyEmail(token: $token) {DONE} }}"
FORGOTTEN = """mutation($email: String!) {
  requestPasswordReset(email: $email) { ok userErrors { code field } receipt { version replayed token } } }"""
RESET = f"mutation($token: String!, $new: String!) {{ resetPassword(token: $token, new: $new) {DONE} }}"
ERASE = f"""mutation($id: ID!, $key: ID) {{
  eraseUser(userId: $id, currentPassword: "{PASSWORD}", idempotencyKey: $key) {DONE} }}"""


async def shop() -> tuple[InMemory, Actor]:
    """With Ada's account."""
    kontor = InMemory()
    return kontor, await kontor.customer()


async def sent(kontor: InMemory, document: str, actor: Actor, **variables: Any) -> Any:
    """The whole answer to one request of this actor."""
    served: Any = SimpleNamespace(
        pipeline=kontor.pipeline,
        store=kontor.store,
        ports=kontor.ports,
        personal_data=kontor.personal_data,
        access_tokens=AccessTokens(bytes(32)),
        rate_limits=RateLimits(connect("redis://127.0.0.1:1"), prefix=""),
    )
    nothing: Any = None
    context = RequestContext(served, actor=actor, freshness=Freshness(nothing, nothing))
    return await schema.execute(document, variable_values=variables, context_value=context)


async def answer(kontor: InMemory, document: str, actor: Actor, **variables: Any) -> dict[str, Any]:
    """The payload of the one mutation."""
    result = await sent(kontor, document, actor, **variables)
    assert result.errors is None, result.errors
    (payload,) = result.data.values()
    return payload


def refusal(payload: dict[str, Any]) -> tuple[str, list[str]]:
    """Code and field of the one error; nothing else is told."""
    (error,) = payload.pop("userErrors")
    assert payload.pop("ok") is False
    assert set(payload.values()) == {None}, payload
    return error["code"], error["field"] or []


async def test_a_profile_is_shown_as_it_was_changed() -> None:
    kontor, ada = await shop()
    for replayed in (False, True):
        assert await answer(kontor, PROFILE, ada, name="Ada L.", email="ADA@new.example", key="k") == {
            "ok": True,
            "userErrors": [],
            "receipt": {"version": 3, "replayed": replayed},
            "user": {
                "id": str(ada.user_id),
                "name": "Ada L.",
                "email": "ada@example.com",
                "roles": ["CUSTOMER"],
                "mfaEnabled": False,
            },
        }


async def test_an_admin_changes_roles_and_sees_them() -> None:
    kontor, ada = await shop()
    admin = await kontor.admin()
    for document, roles, version in ((GRANT, ["CUSTOMER", "ANALYST"], 2), (REVOKE, ["CUSTOMER"], 3)):
        for replayed in (False, True):
            payload = await answer(kontor, document, admin, id=str(ada.user_id), role="ANALYST", key="k")
            assert payload["receipt"] == {"version": version, "replayed": replayed}
            assert payload["user"]["roles"] == roles


async def test_a_second_factor_from_its_secret_to_its_end() -> None:
    kontor, ada = await shop()
    offered = await answer(kontor, ENABLE, ada)
    assert offered["provisioningUri"].startswith("otpauth://totp/")
    assert offered["recoveryCodes"] == ["recovery-1", "recovery-2"]
    confirmed = await answer(kontor, CONFIRM, ada, code="000001")
    assert confirmed == {
        "ok": True,
        "userErrors": [],
        "receipt": {"version": 3},
        "provisioningUri": None,
        "recoveryCodes": None,
    }
    assert refusal(await answer(kontor, ENABLE, ada)) == ("ILLEGAL_TRANSITION", [])
    assert refusal(await answer(kontor, SIGN_IN, ANONYMOUS, password=PASSWORD)) == ("MFA_REQUIRED", ["mfaCode"])
    wrong = await answer(kontor, SIGN_IN, ANONYMOUS, password=PASSWORD, code="999999")
    assert refusal(wrong) == ("MFA_INVALID", ["mfaCode"])
    payload = await answer(kontor, SIGN_IN, ANONYMOUS, password=PASSWORD, code="000002")
    assert (payload["ok"], payload["tokens"]["expiresIn"]) == (True, 900)
    assert payload["user"] == {"id": str(ada.user_id), "mfaEnabled": True}
    assert (await answer(kontor, DISABLE, ada, code="recovery-1"))["ok"]
    assert (await answer(kontor, SIGN_IN, ANONYMOUS, password=PASSWORD))["ok"]


async def test_signing_out_and_another_password_end_sessions() -> None:
    kontor, ada = await shop()
    for _ in range(3):
        assert (await answer(kontor, SIGN_IN, ANONYMOUS, password=PASSWORD))["ok"]
    first, *_ = kontor.sessions.opened
    for unknown in ("nonsense", str(UUID(int=99))):
        assert (await answer(kontor, SIGN_OUT, ada, session=unknown))["ok"]
    assert kontor.sessions.ended == set()
    assert (await answer(kontor, SIGN_OUT, ada, session=str(first)))["ok"]
    assert kontor.sessions.ended == {first}
    assert (await answer(kontor, PASSWORDS, ada, current=PASSWORD, new=NEW_PASSWORD))["ok"]
    assert kontor.sessions.ended == set(kontor.sessions.opened)
    assert refusal(await answer(kontor, SIGN_IN, ANONYMOUS, password=PASSWORD)) == ("BAD_CREDENTIALS", [])
    assert (await answer(kontor, SIGN_IN, ANONYMOUS, password=NEW_PASSWORD))["ok"]
    assert (await answer(kontor, SIGN_OUT, ada))["ok"]
    assert kontor.sessions.ended == set(kontor.sessions.opened)


async def mailed(kontor: InMemory, actor: Actor, purpose: TokenPurpose) -> str:
    """A token as it is mailed to Ada."""
    assert actor.user_id is not None
    claim_id, now = email_claim_id(kontor.personal_data.digest("ada@example.com")), kontor.clock.now()
    return await kontor.ports.account_tokens.make(
        actor.user_id, purpose, address_id=claim_id, expires_at=now + GOOD_FOR[purpose], now=now
    )


async def test_a_mailed_token_verifies_an_address_without_signing_in() -> None:
    kontor, ada = await shop()
    token = await mailed(kontor, ada, TokenPurpose.EMAIL_VERIFICATION)
    for _ in range(2):
        verified = await answer(kontor, VERIFY, ANONYMOUS, token=token)
        assert verified == {"ok": True, "userErrors": [], "receipt": {"version": 2, "replayed": False}}
    assert refusal(await answer(kontor, VERIFY, ANONYMOUS, token="nonsense")) == ("INVALID", ["token"])


async def test_a_forgotten_password_is_set_anew_without_signing_in() -> None:
    kontor, ada = await shop()
    token = await mailed(kontor, ada, TokenPurpose.PASSWORD_RESET)
    weak = await answer(kontor, RESET, ANONYMOUS, token=token, new="short")
    assert refusal(weak) == ("WEAK_PASSWORD", ["new"])
    assert (await answer(kontor, RESET, ANONYMOUS, token=token, new=NEW_PASSWORD))["ok"]
    again = await answer(kontor, RESET, ANONYMOUS, token=token, new=NEW_PASSWORD)
    assert refusal(again) == ("INVALID", ["token"])
    assert (await answer(kontor, SIGN_IN, ANONYMOUS, password=NEW_PASSWORD))["ok"]


async def test_who_asks_for_a_reset_does_not_learn_whether_there_is_an_account() -> None:
    kontor, _ = await shop()
    answers = [await answer(kontor, FORGOTTEN, ANONYMOUS, email=each) for each in ("ada@example.com", "no@one.example")]
    assert answers[0] == answers[1]
    assert (answers[0]["ok"], answers[0]["receipt"]["version"]) == (True, 0)
    assert refusal(await answer(kontor, FORGOTTEN, ANONYMOUS, email="nonsense")) == ("INVALID", ["email"])


async def test_an_erased_account_shows_nothing_personal() -> None:
    kontor, ada = await shop()
    admin = await kontor.admin()
    granted = await answer(kontor, GRANT, admin, id=str(ada.user_id), role="STAFF", key="before")
    assert granted["user"]["name"] == "Ada"
    for replayed in (False, True):
        erased = await answer(kontor, ERASE, ada, id=str(ada.user_id), key="k")
        assert (erased["ok"], erased["receipt"]) == (True, {"version": 3, "replayed": replayed})
    repeated = await answer(kontor, GRANT, admin, id=str(ada.user_id), role="STAFF", key="before")
    assert (repeated["user"]["name"], repeated["user"]["email"], repeated["user"]["roles"]) == (ERASED, ERASED, [])
    assert refusal(await answer(kontor, PROFILE, ada, name="Ada")) == ("ILLEGAL_TRANSITION", [])


@pytest.mark.parametrize(
    ("document", "actor", "variables", "code", "field"),
    [
        (PROFILE, None, {"email": "nonsense"}, "INVALID", ["email"]),
        (PROFILE, None, {"name": " "}, "INVALID", ["name"]),
        (PASSWORDS, None, {"current": "wrong", "new": NEW_PASSWORD}, "BAD_CREDENTIALS", ["current"]),
        (PASSWORDS, None, {"current": PASSWORD, "new": "short"}, "WEAK_PASSWORD", ["new"]),
        (CONFIRM, None, {"code": "000001"}, "MFA_INVALID", ["code"]),
        *[
            (document, ADMIN, {"id": wanted, "role": "STAFF"}, "NOT_FOUND", ["userId"])
            for document in (GRANT, REVOKE)
            for wanted in ("nonsense", str(UUID(int=1)))
        ],
        (ERASE, None, {"id": "nonsense"}, "NOT_FOUND", ["userId"]),
        (ERASE, STAFF, {}, "NOT_FOUND", ["userId"]),
    ],
)
async def test_what_can_be_corrected_is_a_user_error(
    document: str, actor: Actor | None, variables: dict[str, str], code: str, field: list[str]
) -> None:
    kontor, ada = await shop()
    await kontor.customer("bob@example.com")
    admin = await kontor.admin()
    stored = len(kontor.store.stored)
    payload = await answer(
        kontor, document, admin if actor is ADMIN else actor or ada, **({"id": str(ada.user_id)} | variables)
    )
    assert (refusal(payload), len(kontor.store.stored)) == ((code, field), stored)


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (PROFILE, {"name": "x"}),
        (PASSWORDS, {"current": PASSWORD, "new": NEW_PASSWORD}),
        (SIGN_OUT, {}),
        (ENABLE, {}),
        (CONFIRM, {"code": "000001"}),
        (DISABLE, {"code": "000001"}),
        (GRANT, {"role": "STAFF"}),
        (REVOKE, {"role": "STAFF"}),
        (ERASE, {}),
    ],
)
async def test_nobody_changes_an_account_without_signing_in(document: str, variables: dict[str, str]) -> None:
    kontor, ada = await shop()
    stored = len(kontor.store.stored)
    result = await sent(kontor, document, ANONYMOUS, **({"id": str(ada.user_id)} | variables))
    assert result.errors
    assert (result.data, len(kontor.store.stored)) == (None, stored)
