"""Every text that a client can give, on the running system: what is secret or personal is found nowhere in clear.

The texts are those of `commands.COMMANDS`, by their class, so that a new command is searched for as it is declared.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic.alias_generators import to_camel

from api.rest.examples import EXAMPLES
from api.rest.forms import PUBLIC
from domain.disclosure import Disclosure, classified
from domain.identity import OrderId, payment_id
from tests.acceptance.planting import (
    SHAPES,
    plant_as_provider,
    plant_in_documents,
    plant_in_headers,
    plant_in_inputs,
    plant_over_websocket,
)
from tests.acceptance.test_privacy import ADD, ERASE, REGISTER, anywhere, in_logs, in_tables
from tests.api.test_road_of_one_order import PLACE, RECEIVE, Client, order_of, settled
from tests.conftest import Stack

pytestmark = pytest.mark.acceptance
REASONS = "query($id: ID!) { order(id: $id) { history { type data } } }"
SIGN_IN = "mutation($i: SignInInput!) { signIn(input: $i) { ok tokens { accessToken } user { id } } }"
# Personal texts that are in clear in a place with a name: what a device says of itself is in the table of sessions.
IN_CLEAR = {"sign-in userAgent"}
# The mails to their owners, which the stack keeps in place of a mail server.
MAILS = "inbox"


@dataclass
class Planted:
    """The markers: those that must be found nowhere begin alike, so that one search finds any of them."""

    hidden: str = field(default_factory=lambda: f"hid{uuid.uuid4().hex[:10]}")
    shown: str = field(default_factory=lambda: f"pla{uuid.uuid4().hex[:10]}")
    seen_by_session: str = field(default_factory=lambda: f"ses{uuid.uuid4().hex[:10]}")
    named: str = field(default_factory=lambda: f"req{uuid.uuid4().hex[:10]}")
    where: dict[str, str] = field(default_factory=dict)

    def hide(self, where: str) -> str:
        marker = f"{self.hidden}n{len(self.where)}n"
        self.where[marker] = where
        return marker

    def show(self) -> str:
        return f"{self.shown}n{uuid.uuid4().hex[:6]}n"

    async def found(self, stack: Stack) -> dict[str, list[str]]:
        """The fields whose text was found, with the places."""
        at = await places(stack, self.hidden)
        if not at:
            return {}
        url = stack.status["postgres_url"]
        rows = {
            where: [*await in_tables(url, [marker]), *await in_logs(stack, [marker])]
            for marker, where in self.where.items()
        }
        return {where: found for where, found in rows.items() if found} | {"any": at}


async def places(stack: Stack, needle: str) -> list[str]:
    """Tables, keys, topics, logs, metrics, and files of the home: those of the servers too."""
    needles = [needle, needle.upper()]
    async with aiohttp.ClientSession() as http, http.get(f"{stack.status['http_url']}/metrics") as answer:
        assert answer.status == 200
        told = await answer.text()
    return [
        *await anywhere(stack, needles),
        *await asyncio.to_thread(in_files, stack.home, [each.encode() for each in needles]),
        *(["/metrics"] if any(each in told for each in needles) else []),
    ]


def in_files(home: Path, needles: list[bytes]) -> list[str]:
    return [
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and MAILS not in path.relative_to(home).parts
        and any(each in content_of(path) for each in needles)
    ]


def content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a server removed it meanwhile
        return b""


def texts_of(command: str) -> Iterator[tuple[tuple[str, ...], Disclosure]]:
    """The path of every text of the command, as the API names it, and its class."""
    for each in classified(PUBLIC[command].request):
        yield tuple(to_camel(part.rpartition(".")[2]) for part in each.place.split(" > ")), each.disclosure


def filled(command: str, path: tuple[str, ...], text: str, ids: dict[str, str]) -> dict[str, Any]:
    """The command's example, with this text at the path and the ids of what there is."""
    body: dict[str, Any] = json.loads(json.dumps(EXAMPLES[command])) | {
        name: ids[name] for name in EXAMPLES[command] if name in ids
    }
    at: Any = body
    for name in path[:-1]:
        at = at.setdefault(name, {})
        at = at[0] if isinstance(at, list) else at
    at[path[-1]] = [text] if isinstance(at.get(path[-1]), list) else text
    return body


async def sent(client: Client, command: str, body: dict[str, Any]) -> int:
    head = {"Authorization": f"Bearer {client.token}"} if client.token else {}
    async with client.http.post(f"{client.url}/v1/commands/{command}", json=body, headers=head) as answer:
        await answer.read()
        return answer.status


async def plant_in_commands(
    planted: Planted, actors: list[Client], guessing: list[Client], ids: dict[str, dict[str, str]]
) -> set[str]:
    """One request for each text and each actor until one may; the names of the commands that were done. Wrong secrets
    are counted by account: they come from those that are `guessing`."""
    done = set()
    for command in PUBLIC:
        for path, disclosure in texts_of(command):
            where = f"{command} {'.'.join(path)}"
            hidden = disclosure is not Disclosure.PLAIN and where not in IN_CLEAR
            marker = planted.hide(where) if hidden else planted.show()
            body = filled(command, path, SHAPES.get(path[-1], "{}").format(marker), ids.get(command, {}))
            for actor in guessing if disclosure is Disclosure.SECRET else actors:
                status = await sent(actor, command, body)
                assert status < 500, (where, status)
                if status == 200:
                    done.add(command)
                    break
    return done


async def plant_beside_commands(planted: Planted, staff: Client, clerk: Client, guest: Client) -> None:
    """What clients send beside commands over REST: GraphQL, WebSocket, headers."""
    await plant_in_inputs(planted.hide, planted.show, by_variable=clerk, by_literal=guest)
    await plant_in_documents(planted.hide, staff.http, staff.url)
    sku = await product(staff)
    await plant_in_headers(planted.hide, planted.named, staff, sku)
    await plant_over_websocket(planted.hide, planted.named, staff)


async def account(anyone: Client, admin: Client, role: str | None) -> Client:
    """A new account, signed in, with this role."""
    login = {"email": f"{uuid.uuid4().hex}@person.example", "password": f"{uuid.uuid4().hex} horse"}
    assert (await anyone(REGISTER, i=login | {"name": "Guest"}))["registerUser"]["ok"]
    user_id = (await anyone(SIGN_IN, i=login))["signIn"]["user"]["id"]
    if role is not None:
        assert await sent(admin, "grant-role", {"userId": user_id, "role": role}) == 200
    return await anyone.signed_in(**login)


async def product(staff: Client) -> str:
    """Its SKU; there are units in stock."""
    sku = f"SKU-{uuid.uuid4().hex[:10]}"
    thing = {"sku": sku, "name": "Thing", "price": {"amount": "2.55", "currency": "GBP"}}
    assert (await staff(ADD, i=thing))["addProduct"]["ok"]
    assert (await staff(RECEIVE, input={"sku": sku, "quantity": 5}))["receiveStock"]["ok"]
    return sku


async def order_for(person: Client, staff: Client) -> str:
    """An order of the person's that is confirmed."""
    order_id = (await person(PLACE, input=order_of(await product(staff))))["placeOrder"]["order"]["id"]
    assert (await settled(person, order_id))["status"] == "CONFIRMED"
    return str(order_id)


async def reason_in(client: Client, order_id: str, event_type: str) -> str | None:
    history = (await client(REASONS, id=order_id))["order"]["history"]
    (reason,) = [each["data"]["reason"] for each in history if each["type"] == event_type]
    return None if reason is None else str(reason)


async def test_no_secret_or_personal_text_is_found_in_clear_before_or_after_erasing(stack: Stack) -> None:
    planted, url = Planted(), stack.status["http_url"]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        anyone = Client(http, url)
        staff, admin = [await anyone.signed_in(**stack.status["logins"][role]) for role in ("staff", "admin")]
        email, password = f"{planted.hide('email')}@person.example", f"{planted.hide('password')} horse battery"
        register = {"email": email, "name": planted.hide("name"), "password": password}
        assert (await anyone(REGISTER, i=register))["registerUser"]["ok"]
        login = {"email": email, "password": password}
        opened = (await anyone(SIGN_IN, {"User-Agent": planted.seen_by_session}, i=login))["signIn"]
        user_id = opened["user"]["id"]
        person = Client(http, url, opened["tokens"]["accessToken"])
        cancelled, refunded = await order_for(person, staff), await order_for(person, staff)
        ids = {"cancel-order": {"orderId": cancelled}} | {
            command: {"orderId": refunded} for command in ("ship-order", "refund-order")
        }
        ids["update-profile"] = {"currentPassword": password}

        guesser, clerk, guest = [await account(anyone, admin, role) for role in (None, "STAFF", None)]
        done = await plant_in_commands(planted, [person, staff, admin, anyone], [guesser, anyone], ids)
        await plant_beside_commands(planted, staff, clerk, guest)
        await plant_as_provider(planted.hide, planted.show, stack, http, str(payment_id(OrderId(uuid.UUID(refunded)))))
        assert {"register-user", "update-profile", "cancel-order", "ship-order", "refund-order"} <= done
        # What is plain may be found, which shows that the search finds.
        assert {"events", "kontor.orders"} <= set(await places(stack, planted.shown))
        assert planted.hidden in str(await reason_in(person, cancelled, "order.cancelled"))
        assert planted.hidden in str(await reason_in(staff, refunded, "order.refunded"))
        assert await planted.found(stack) == {}
        assert await anywhere(stack, [planted.seen_by_session]) == ["sessions"]
        # What a client calls its requests is in the lines about them, and nowhere else.
        assert await anywhere(stack, [planted.named]) == ["api.log"]

        erased = (await person(ERASE, id=user_id, p=password))["eraseUser"]
        assert erased["ok"], erased
        assert await reason_in(staff, cancelled, "order.cancelled") is None
        assert await planted.found(stack) == {}
        assert await anywhere(stack, [planted.seen_by_session]) == []
