"""Every decision about an account and about the claim on an address, in every state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.email_claims import EmailClaim
from domain.errors import AlreadyExists, IllegalTransition
from domain.identity import EmailClaimId, UserId
from domain.users import Role, User
from tests.given import CUSTOMER_ID, NOW, Decision, Told, decide, told

SESSION = UUID(int=0x5E)
ADA, BOB = UserId(UUID(int=0xADA)), UserId(UUID(int=0xB0B))
ENABLE: Decision = ("enable_mfa", {"reason": "confirmed"})
ERASE: Decision = ("erase", {"by": "user:1"})
VERIFY: Decision = ("verify_email", {})
ASK: Decision = ("request_email_change", {"sealed_email": "e2"})
CONFIRM: Decision = ("confirm_email_change", {})
STOP: Decision = ("undo_email_change", {"former": None})
UNDONE = "a change of address was undone"
GRANT: Decision = ("grant", {"role": Role.STAFF, "by": "user:1"})
PLAIN: list[Decision] = []
ALL_ENDED: dict[str, object] = {"session_ids": None, "before": "2026-01-01T12:00:00Z", "kept": None}


def registered() -> User:
    return User.register(
        user_id=CUSTOMER_ID, sealed_email="sealed e", sealed_name="sealed n", roles=(Role.CUSTOMER,), now=NOW
    )


# What was decided before, what is decided now, what it says.
RECORDED: dict[str, tuple[list[Decision], Decision, list[Told]]] = {
    "another address": (PLAIN, ASK, [("user.email_change_requested", {"email": "e2"})]),
    "another address instead": (
        [ASK],
        ("request_email_change", {"sealed_email": "e3"}),
        [("user.email_change_requested", {"email": "e3"})],
    ),
    "another address confirmed": ([ASK], CONFIRM, [("user.email_changed", {"email": "e2"})]),
    "another address stopped": (
        [ASK],
        STOP,
        [
            ("user.email_change_undone", {"email": None}),
            ("user.password_changed", {"reason": UNDONE}),
            ("user.sessions_revoked", ALL_ENDED | {"reason": UNDONE}),
        ],
    ),
    "another address stopped, with a factor": (
        [ENABLE, ASK],
        STOP,
        [
            ("user.email_change_undone", {"email": None}),
            ("user.mfa_disabled", {"reason": UNDONE}),
            ("user.password_changed", {"reason": UNDONE}),
            ("user.sessions_revoked", ALL_ENDED | {"reason": UNDONE}),
        ],
    ),
    "another name": (
        PLAIN,
        ("update_profile", {"sealed_name": "n2"}),
        [("user.profile_updated", {"email": None, "name": "n2"})],
    ),
    "nothing else": (PLAIN, ("update_profile", {"sealed_name": None}), []),
    "a role": (PLAIN, GRANT, [("user.role_granted", {"role": "STAFF", "by": "user:1"})]),
    "a role again": ([GRANT], GRANT, []),
    "a role less": (
        PLAIN,
        ("revoke", {"role": Role.CUSTOMER, "by": "user:1"}),
        [("user.role_revoked", {"role": "CUSTOMER", "by": "user:1"})],
    ),
    "a role less that is not there": (PLAIN, ("revoke", {"role": Role.ADMIN, "by": "user:1"}), []),
    "another password": (
        PLAIN,
        ("change_password", {"reason": "changed"}),
        [
            ("user.password_changed", {"reason": "changed"}),
            ("user.sessions_revoked", ALL_ENDED | {"reason": "changed"}),
        ],
    ),
    "sessions ended": (
        PLAIN,
        ("revoke_sessions", {"reason": "signed out"}),
        [("user.sessions_revoked", ALL_ENDED | {"reason": "signed out"})],
    ),
    "one session ended": (
        PLAIN,
        ("revoke_sessions", {"reason": "signed out", "session_ids": (SESSION,)}),
        [("user.sessions_revoked", ALL_ENDED | {"reason": "signed out", "session_ids": [str(SESSION)]})],
    ),
    "every other session ended": (
        PLAIN,
        ("revoke_sessions", {"reason": "second factor", "kept": SESSION}),
        [("user.sessions_revoked", ALL_ENDED | {"reason": "second factor", "kept": str(SESSION)})],
    ),
    "a second factor": (PLAIN, ENABLE, [("user.mfa_enabled", {"reason": "confirmed"})]),
    "a second factor again": ([ENABLE], ENABLE, []),
    "no second factor": ([ENABLE], ("disable_mfa", {"reason": "no"}), [("user.mfa_disabled", {"reason": "no"})]),
    "no second factor again": (PLAIN, ("disable_mfa", {"reason": "no"}), []),
    "a verified address": (PLAIN, VERIFY, [("user.email_verified", {})]),
    "a verified address again": ([VERIFY], VERIFY, []),
    "another address is verified": ([ASK, CONFIRM], VERIFY, []),
    "a mailbox proven": (PLAIN, ("prove_mailbox", {}), [("user.email_verified", {})]),
    "a mailbox proven, with a factor of before": (
        [ENABLE],
        ("prove_mailbox", {}),
        [("user.email_verified", {}), ("user.mfa_disabled", {"reason": "set up before the address was verified"})],
    ),
    "a mailbox proven again, with a factor of after": ([VERIFY, ENABLE], ("prove_mailbox", {}), []),
    "a verified address under another name": (
        [VERIFY, ("update_profile", {"sealed_name": "n2"})],
        VERIFY,
        [],
    ),
    "erased": (PLAIN, ERASE, [("user.erased", {"by": "user:1"})]),
    "erased again": ([ERASE], ERASE, []),
}


@pytest.mark.parametrize(("before", "now", "says"), RECORDED.values(), ids=RECORDED)
def test_a_decision_records_what_it_changes(before: list[Decision], now: Decision, says: list[Told]) -> None:
    user = decide(registered(), *before)
    user.collect_events()
    assert told(decide(user, now)) == says


@pytest.mark.parametrize("decision", [now for _, now, _ in RECORDED.values() if now != ERASE], ids=lambda each: each[0])
def test_an_erased_account_decides_nothing(decision: Decision) -> None:
    user = decide(registered(), ERASE)
    user.collect_events()
    with pytest.raises(IllegalTransition, match="ERASED"):
        decide(user, decision)
    assert told(user) == []


def test_an_erased_account_knows_nothing_personal() -> None:
    user = decide(registered(), GRANT, ENABLE, VERIFY, ERASE)
    assert (user.email, user.name, user.roles, user.mfa_enabled, user.erased) == ("", "", (), False, True)
    assert user.email_verified is False


def claimed() -> EmailClaim:
    return EmailClaim.claim(claim_id=EmailClaimId(UUID(int=1)), user_id=ADA, now=NOW)


RELEASE: Decision = ("release", {"user_id": ADA})
KEEP: Decision = ("keep", {"user_id": ADA, "until": NOW + timedelta(days=7)})
TO_BOB: Decision = ("reclaim", {"user_id": BOB})
CLAIMS: dict[str, tuple[list[Decision], Decision, list[Told]]] = {
    "released": (PLAIN, RELEASE, [("email.released", {"user_id": str(ADA)})]),
    "released again": ([RELEASE], RELEASE, []),
    "released by another": (PLAIN, ("release", {"user_id": BOB}), []),
    "kept": (PLAIN, KEEP, [("email.kept", {"user_id": str(ADA), "until": "2026-01-08T12:00:00Z"})]),
    "kept again": ([KEEP], KEEP, []),
    "kept for an account that does not have it": ([RELEASE, TO_BOB], KEEP, []),
    "released while it is kept": ([KEEP], RELEASE, [("email.released", {"user_id": str(ADA)})]),
    "claimed anew by the account that it is kept for": (
        [KEEP],
        ("reclaim", {"user_id": ADA}),
        [("email.reclaimed", {"user_id": str(ADA)})],
    ),
    "claimed by another after it was kept": (
        [("keep", {"user_id": ADA, "until": NOW})],
        TO_BOB,
        [("email.reclaimed", {"user_id": str(BOB)})],
    ),
    "claimed by its owner": (PLAIN, ("reclaim", {"user_id": ADA}), []),
    "claimed by another once free": ([RELEASE], TO_BOB, [("email.reclaimed", {"user_id": str(BOB)})]),
    "claimed anew by who gave it up": (
        [RELEASE],
        ("reclaim", {"user_id": ADA}),
        [("email.reclaimed", {"user_id": str(ADA)})],
    ),
    "claimed by its second owner again": ([RELEASE, TO_BOB], TO_BOB, []),
    "released by its first owner, whose it is no longer": ([RELEASE, TO_BOB], RELEASE, []),
    "released by its second owner": (
        [RELEASE, TO_BOB],
        ("release", {"user_id": BOB}),
        [("email.released", {"user_id": str(BOB)})],
    ),
}


@pytest.mark.parametrize(("before", "now", "says"), CLAIMS.values(), ids=CLAIMS)
def test_an_address_is_claimed_by_one_account_at_a_time(
    before: list[Decision], now: Decision, says: list[Told]
) -> None:
    claim = decide(claimed(), *before)
    claim.collect_events()
    assert told(decide(claim, now)) == says


@pytest.mark.parametrize(
    ("before", "wants"),
    [(PLAIN, BOB), ([RELEASE, TO_BOB], ADA), ([KEEP], BOB)],
    ids=["first", "second owner", "kept"],
)
def test_an_address_that_is_taken_is_not_claimed_by_another(before: list[Decision], wants: UserId) -> None:
    claim: Any = decide(claimed(), *before)
    claim.collect_events()
    with pytest.raises(AlreadyExists) as refused:
        claim.reclaim(user_id=wants, now=NOW)
    assert refused.value.field == ("email",)
    assert told(claim) == []
