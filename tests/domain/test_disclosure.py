"""Secrets: nothing shows, serialises or copies them; and every text of a dataclass has a class."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from domain.disclosure import HIDDEN, Disclosure, KeepsSecrets, Personal, Plain, Sealed, Secret, classified

TEXT = "correct horse battery"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword(KeepsSecrets):
    email: Personal
    password: Secret
    old: Secret | None = None


@dataclass(frozen=True, slots=True)
class Inner:
    sku: Plain
    note: Sealed | None


@dataclass(frozen=True, slots=True)
class Outer:
    lines: tuple[Inner, ...]
    texts: tuple[Plain, ...]
    how_many: int


def test_a_secret_shows_nothing_however_it_is_formatted() -> None:
    secret = Secret(TEXT)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, "{:>50}".format(secret)]  # noqa: UP031, UP032
    assert all(TEXT not in each and HIDDEN in each for each in shown)
    assert TEXT not in repr(SetPassword(email="a", password=secret))
    assert secret.reveal() == TEXT


@pytest.mark.parametrize("serialise", [json.dumps, msgspec.json.encode, pickle.dumps, bytes, "".join, len, sorted])
def test_a_secret_is_not_serialised_by_accident(serialise: Any) -> None:
    with pytest.raises(TypeError):
        serialise(Secret(TEXT) if serialise is not "".join else [Secret(TEXT)])


def test_a_secret_stays_one_in_copies() -> None:
    request = SetPassword(email="a", password=Secret(TEXT))
    assert isinstance(dataclasses.asdict(request)["password"], Secret)
    assert copy.deepcopy(request) == copy.copy(request) == request
    assert Secret(Secret(TEXT)).reveal() == TEXT


def test_secrets_are_compared_by_their_text_and_with_nothing_else() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("another")
    assert Secret(TEXT) != TEXT
    assert Secret("\ud800") == Secret("\ud800")
    assert not Secret("")
    with pytest.raises(TypeError):
        hash(Secret(TEXT))


def test_a_command_takes_a_text_and_keeps_a_secret() -> None:
    request = SetPassword(email="a", password=TEXT, old=TEXT)  # type: ignore[arg-type]
    assert (request.password, request.old) == (Secret(TEXT), Secret(TEXT))
    assert SetPassword(email="a", password=TEXT).old is None  # type: ignore[arg-type]


def test_a_traceback_shows_no_secret() -> None:
    secret = Secret(TEXT)
    try:
        {}[secret]  # type: ignore[index]
    except TypeError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert TEXT not in "".join(told.format()).replace(f'"{TEXT}"', "")


def test_every_text_is_found_with_its_class() -> None:
    assert [each.disclosure for each in classified(Outer)] == [
        Disclosure.PLAIN,
        Disclosure.SEALED,
        Disclosure.PLAIN,
    ]
    assert [each.disclosure for each in classified(SetPassword)] == [
        Disclosure.PERSONAL,
        Disclosure.SECRET,
        Disclosure.SECRET,
    ]


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (str, "without a class"),
        (tuple[str, ...], "without a class"),
        (dict[str, Plain], "without a class"),
        (Annotated[str, "x"], "no class"),
        (bytes, "has no class"),
        (Any, "has no class"),
    ],
)
def test_what_has_no_class_is_refused(hint: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        list(classified(dataclasses.make_dataclass("Made", [("text", hint)])))


@pytest.mark.parametrize("name", ["password", "mfa_code", "refresh_token", "webhook_secret", "recovery_code"])
def test_what_is_named_like_a_secret_has_to_be_one(name: str) -> None:
    with pytest.raises(TypeError, match="named like a secret"):
        list(classified(dataclasses.make_dataclass("Made", [(name, Plain)])))
