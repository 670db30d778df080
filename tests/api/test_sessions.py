"""One's own sessions, on the running system."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.test_accounts import PASSWORD, REGISTER, SIGN_IN, SIGN_OUT, Person, ada, anyone  # noqa: F401  # fixtures
from tests.api.test_road_of_one_order import Client

pytestmark = pytest.mark.servers
SESSIONS = "{ mySessions { id userAgent current createdAt lastUsedAt } }"


async def device(person: Person, name: str) -> Client:
    """The person, signed in from a device of this name."""
    given = {"email": person.email, "password": PASSWORD}
    answer = await person.anyone(SIGN_IN, {"User-Agent": name}, i=given)
    return Client(person.anyone.http, person.anyone.url, answer["signIn"]["tokens"]["accessToken"])


def told(sessions: list[dict[str, Any]]) -> dict[str, bool]:
    return {session["userAgent"]: session["current"] for session in sessions}


async def test_everybody_sees_the_own_sessions_and_which_of_them_asks(ada: Person) -> None:  # noqa: F811  # the fixture
    await ada(SIGN_OUT)
    phone, laptop = await device(ada, "Phone"), await device(ada, "Laptop")
    sessions = (await phone(SESSIONS))["mySessions"]
    assert list(told(sessions).items()) == [("Laptop", False), ("Phone", True)]
    assert told((await laptop(SESSIONS))["mySessions"]) == {"Laptop": True, "Phone": False}
    await phone(SIGN_OUT, s=sessions[0]["id"])
    # With its session the laptop's access token has ended.
    assert (await laptop.send(SESSIONS))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert told((await phone(SESSIONS))["mySessions"]) == {"Phone": True}
    other = f"b{ada.email}"
    await ada.anyone(REGISTER, i={"email": other, "name": "Bob", "password": PASSWORD})
    bob = await ada.anyone.signed_in(other, PASSWORD)
    assert len((await bob(SESSIONS))["mySessions"]) == 1
    refused = await ada.anyone.send(SESSIONS)
    assert refused["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
