"""Whom each type of event is for."""

from __future__ import annotations

import pytest

from domain import (
    AUDIENCES,
    EVENT_TYPES,
    RESTRICTED_TYPES,
    aggregate_type_of,
    may_read,
    readable_fields,
    readable_types,
)
from domain.audience import Audience, declared_audiences
from domain.users import Role

STAFF_AND_ADMIN = {Role.STAFF, Role.ADMIN}
LOG_READERS = STAFF_AND_ADMIN | {Role.ANALYST, Role.INTEGRATOR}
PROFILE = {
    "user.registered",
    "user.profile_updated",
    "user.email_changed",
    "user.email_change_undone",
    "user.erased",
}


def readers_of(event_type: str) -> set[Role]:
    return {role for role in Role if may_read({role}, event_type)}


def test_every_event_type_declares_its_audience() -> None:
    assert set(AUDIENCES) == EVENT_TYPES
    assert set(AUDIENCES.values()) == set(Audience)


def test_an_event_type_without_an_audience_does_not_start() -> None:
    class Told:
        TOPIC = "order.told"

    with pytest.raises(TypeError, match=r"declared for order\.told"):
        declared_audiences({"order.told": Told})


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_what_is_not_business_or_a_profile_is_for_staff_and_admin(event_type: str) -> None:
    profile = event_type in PROFILE
    business = aggregate_type_of(event_type) in {"order", "stock", "product", "category", "slug", "payment"}
    assert readers_of(event_type) == (LOG_READERS if profile or business else STAFF_AND_ADMIN)
    assert (event_type in RESTRICTED_TYPES) == (not profile and not business)


@pytest.mark.parametrize(
    "event_type",
    ["webhook.registered", "user.signed_in", "user.sign_in_failed", "user.role_granted", "email.claimed",
     "notification.sent"],
)  # fmt: skip
def test_secrets_and_sign_ins_are_for_staff_and_admin(event_type: str) -> None:
    assert readers_of(event_type) == STAFF_AND_ADMIN


def test_a_type_that_is_not_known_is_for_no_role() -> None:
    assert not any(may_read({role}, "order.eaten") for role in Role)


def test_the_roles_of_a_new_account_are_read_as_roles_are() -> None:
    data = {"email": "sealed", "roles": ["ADMIN"]}
    assert readable_fields({Role.INTEGRATOR}, "user.registered", data) == {"email": "sealed", "roles": None}
    assert readable_fields({Role.STAFF, Role.INTEGRATOR}, "user.registered", data) == data
    assert readable_fields({Role.INTEGRATOR}, "order.placed", data) == data


def test_a_customer_reads_no_event_of_the_log() -> None:
    assert readable_types({Role.CUSTOMER}) == frozenset() == readable_types(set())
