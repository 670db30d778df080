"""The development payment provider: its protocol, held against the provider's own library, its faults, and kill -9."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import stripe

from cli.gateway import serving
from tests.gateways import KEY, SECRET, GatewayProcess, Receiver, charge_of, eventually, receiver

INTENTS = "/v1/payment_intents"
GOOD = {"amount": "1275", "currency": "gbp", "capture_method": "manual", "payment_method": "pm_card_visa"}


@pytest.fixture(scope="module")
async def taking() -> AsyncIterator[Receiver]:
    async with receiver() as listening:
        yield listening


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, taking: Receiver) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path_factory.mktemp("gateway"), webhook_url=taking.url)
    running.start()
    yield running
    running.end()


@pytest.fixture(autouse=True)
async def no_faults(process: GatewayProcess) -> AsyncIterator[None]:
    yield
    await process.clear()


@pytest.fixture
def library(process: GatewayProcess) -> stripe.StripeClient:
    """The provider's own library; it repeats nothing by itself."""
    return stripe.StripeClient(KEY, base_addresses={"api": process.url}, max_network_retries=0)


async def made(process: GatewayProcess, **more: str) -> dict[str, Any]:
    status, intent = await process.ask("POST", INTENTS, GOOD | more)
    assert status == 200, intent
    return intent


async def moved(process: GatewayProcess, intent: dict[str, Any], *verbs: str) -> dict[str, Any]:
    for verb in verbs:
        status, intent = await process.ask("POST", f"{INTENTS}/{intent['id']}/{verb}")
        assert status == 200, intent
    return intent


def by_library(client: stripe.StripeClient) -> list[str]:
    """The whole road of a payment, as the library understands the answers."""
    intents, road = client.v1.payment_intents, []
    intent = intents.create(
        {"amount": 1275, "currency": "gbp", "capture_method": "manual", "metadata": {"order_id": "7"}}
    )
    road.append(intent.status)
    intent = intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    road += [intent.status, intent.amount_capturable, intent.metadata["order_id"]]
    intent = intents.capture(intent.id)
    road += [intent.status, intent.amount_received]
    refund = client.v1.refunds.create({"payment_intent": intent.id})
    assert client.v1.refunds.retrieve(refund.id) == refund
    intent = intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    return [*road, refund.status, refund.amount, intent.latest_charge.refunded]


async def test_the_providers_own_library_walks_the_whole_road(library: stripe.StripeClient) -> None:
    assert await asyncio.to_thread(by_library, library) == [
        "requires_payment_method",
        "requires_capture",
        1275,
        "7",
        "succeeded",
        1275,
        "succeeded",
        1275,
        True,
    ]


async def test_the_providers_own_library_raises_its_own_errors(
    process: GatewayProcess, library: stripe.StripeClient
) -> None:
    def ask(params: Any, **options: Any) -> Any:
        return library.v1.payment_intents.create(params, options)

    good: Any = {"amount": 1275, "currency": "gbp", "payment_method": "pm_card_visa"}
    declined: Any = good | {"payment_method": "pm_card_chargeDeclined", "confirm": True}
    with pytest.raises(stripe.CardError) as card:
        await asyncio.to_thread(ask, declined)
    assert (card.value.code, card.value.http_status) == ("card_declined", 402)
    assert card.value.error.decline_code == "generic_decline"
    assert card.value.error.payment_intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError, match="amount"):
        await asyncio.to_thread(ask, good | {"amount": 0})
    await asyncio.to_thread(ask, good, idempotency_key="once")
    with pytest.raises(stripe.IdempotencyError):
        await asyncio.to_thread(ask, good | {"amount": 1276}, idempotency_key="once")
    stranger = stripe.StripeClient("sk_test_wrong", base_addresses={"api": process.url})
    with pytest.raises(stripe.AuthenticationError):
        await asyncio.to_thread(stranger.v1.payment_intents.create, good)


async def test_the_providers_own_library_creates_and_confirms_in_one_request(library: stripe.StripeClient) -> None:
    payment = uuid4().hex
    params: Any = GOOD | {"confirm": True, "metadata": {"payment_id": payment}}

    def ask(**more: Any) -> Any:
        return library.v1.payment_intents.create(params | more, {"idempotency_key": payment})

    first, again = [await asyncio.to_thread(ask) for _ in range(2)]
    assert (first.status, first.amount_capturable, again) == ("requires_capture", 1275, first)
    for other in ({"confirm": False}, {"payment_method": "pm_card_mastercard"}):
        with pytest.raises(stripe.IdempotencyError) as used:
            await asyncio.to_thread(ask, **other)
        assert used.value.http_status == 400
    search: Any = {"query": f"metadata['payment_id']:'{payment}'"}
    found = await asyncio.to_thread(library.v1.payment_intents.search, search)
    assert [each.id for each in found.auto_paging_iter()] == [first.id]


@pytest.mark.parametrize(
    "method",
    [
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_card_chargeDeclinedExpiredCard",
        "pm_card_authenticationRequired",
        "pm_gateway_processing",
    ],
)
async def test_confirmed_at_once_a_card_behaves_as_when_it_is_confirmed_later(
    process: GatewayProcess, taking: Receiver, method: str
) -> None:
    def shape(status: int, answer: dict[str, Any]) -> Any:
        error = answer.get("error", {})
        intent = error.get("payment_intent", answer)
        told = {name: error.get(name) for name in ("type", "code", "decline_code", "message")}
        return intent["id"], (status, told, set(intent), intent["status"], intent["amount_capturable"])

    unconfirmed = await made(process, payment_method=method)
    later_id, later = shape(*await process.ask("POST", f"{INTENTS}/{unconfirmed['id']}/confirm"))
    at_once_id, at_once = shape(
        *await process.ask("POST", INTENTS, GOOD | {"payment_method": method, "confirm": "true"})
    )
    assert at_once == later
    assert later[1]["type"] == ("card_error" if "Declined" in method else None)
    for intent in (later_id, at_once_id):  # what is told of its end comes last
        await moved(process, {"id": intent}, "cancel")
        await eventually(lambda intent=intent: taking.types(intent)[-1:] == ["payment_intent.canceled"])
    assert taking.types(at_once_id) == taking.types(later_id)


async def test_without_a_payment_method_it_is_made_and_not_confirmed(process: GatewayProcess) -> None:
    form = {"amount": "1275", "currency": "gbp", "confirm": "true"}
    status, answer = await process.ask("POST", INTENTS, form)
    assert (status, answer["error"]["code"]) == (400, "payment_intent_unexpected_state")
    made_of_it = answer["error"]["payment_intent"]
    assert await process.ask("GET", f"{INTENTS}/{made_of_it['id']}") == (200, made_of_it)


async def test_the_providers_own_library_believes_the_webhooks(process: GatewayProcess, taking: Receiver) -> None:
    intent = await moved(process, await made(process), "confirm", "capture")
    await process.ask("POST", "/v1/refunds", {"payment_intent": intent["id"]})
    wanted = ["payment_intent.amount_capturable_updated", "payment_intent.succeeded", "charge.refunded"]
    await eventually(lambda: taking.types(intent["id"]) == wanted)
    for body, header in taking.got[-3:]:
        event = stripe.Webhook.construct_event(body, header, SECRET)
        assert event.data.object.amount == 1275


async def test_a_webhook_says_what_happened_at_a_decline_and_at_a_cancellation(
    process: GatewayProcess, taking: Receiver
) -> None:
    intent = await made(process, payment_method="pm_card_chargeDeclined")
    status, _ = await process.ask("POST", f"{INTENTS}/{intent['id']}/confirm")
    assert status == 402
    await moved(process, intent, "cancel")
    await eventually(lambda: taking.types(intent["id"]) == ["payment_intent.payment_failed", "payment_intent.canceled"])


@pytest.mark.parametrize(
    ("walked", "refused"),
    [
        ([], ["capture"]),
        (["confirm"], ["confirm"]),
        (["confirm", "capture"], ["confirm", "capture", "cancel"]),
        (["cancel"], ["confirm", "capture", "cancel"]),
    ],
)
async def test_a_step_that_the_status_does_not_allow_is_refused_with_the_intent(
    process: GatewayProcess, walked: list[str], refused: list[str]
) -> None:
    intent = await moved(process, await made(process), *walked)
    for verb in refused:
        status, answer = await process.ask("POST", f"{INTENTS}/{intent['id']}/{verb}")
        assert (status, answer["error"]["code"]) == (400, "payment_intent_unexpected_state")
        assert answer["error"]["payment_intent"] == intent


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"amount": "1.5"}, "parameter_invalid_integer"),
        ({"amount": "0"}, "amount_invalid"),
        ({"amount": "100000000"}, "amount_invalid"),
        ({"amount": ""}, "parameter_missing"),
        ({"payment_method": "account"}, "resource_missing"),
        ({"transfer_data[destination]": "acct_1"}, "parameter_unknown"),
        ({"currency": "pound"}, None),
        ({"capture_method": "later"}, None),
        ({"metadata[x]": "y" * 501}, None),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_and_not_kept(
    process: GatewayProcess, form: dict[str, str], code: str | None
) -> None:
    key = json.dumps(form)[:255]
    status, answer = await process.ask("POST", INTENTS, GOOD | form, key=key)
    assert (status, answer["error"]["type"], answer["error"].get("code")) == (400, "invalid_request_error", code)
    assert (await process.ask("POST", INTENTS, GOOD, key=key))[0] == 200


async def test_the_same_key_is_answered_with_the_first_answer_whatever_happened_since(process: GatewayProcess) -> None:
    _, first = await process.ask("POST", INTENTS, GOOD, key="k1")
    await moved(process, first, "confirm")
    assert await process.ask("POST", INTENTS, dict(reversed(GOOD.items())), key="k1") == (200, first)
    declined = GOOD | {"payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    refused = await process.ask("POST", INTENTS, declined, key="k2")
    assert refused[0] == 402
    assert await process.ask("POST", INTENTS, declined, key="k2") == refused
    status, answer = await process.ask("POST", f"{INTENTS}/{first['id']}/capture", key="k1")
    assert (status, answer["error"]["type"]) == (400, "idempotency_error")


async def test_a_key_that_is_still_being_worked_on_is_a_conflict(process: GatewayProcess) -> None:
    await process.tell("delay", seconds=1.5, on="create")
    first = asyncio.create_task(process.ask("POST", INTENTS, GOOD, key="slow"))
    await process.struck()
    status, answer = await process.ask("POST", INTENTS, GOOD, key="slow")
    assert (status, answer["error"]["code"]) == (409, "idempotency_key_in_use")
    assert await process.ask("POST", INTENTS, GOOD, key="slow") in ((status, answer), await first)


async def test_refunds_stop_at_what_was_taken(process: GatewayProcess) -> None:
    intent = await moved(process, await made(process), "confirm", "capture")
    asked = {"payment_intent": intent["id"], "amount": "1000"}
    assert (await process.ask("POST", "/v1/refunds", asked))[0] == 200
    status, answer = await process.ask("POST", "/v1/refunds", asked)
    assert (status, "unrefunded amount on charge (275)" in answer["error"]["message"]) == (400, True)
    assert (await process.ask("POST", "/v1/refunds", {"payment_intent": intent["id"]}))[1]["amount"] == 275
    status, answer = await process.ask("POST", "/v1/refunds", {"payment_intent": intent["id"]})
    assert (status, answer["error"]["code"]) == (400, "charge_already_refunded")


async def test_the_ledger_adds_up(process: GatewayProcess) -> None:
    before = (await process.ask("GET", "/_gateway/ledger"))[1]["sums"].get("NOK", {"net": 0, "held": 0})
    taken = await moved(process, await made(process, currency="nok"), "confirm", "capture")
    await process.ask("POST", "/v1/refunds", {"payment_intent": taken["id"], "amount": "275"})
    await moved(process, await made(process, currency="nok"), "confirm")
    await moved(process, await made(process, currency="nok"), "confirm", "cancel")
    sums = (await process.ask("GET", "/_gateway/ledger"))[1]["sums"]["NOK"]
    assert (sums["net"] - before["net"], sums["held"] - before["held"]) == (1_000, 1_275)
    assert (sums["intents"], sums["authorised"], sums["captured"], sums["refunded"]) == (3, 3_825, 1_275, 275)


async def test_a_good_card_may_have_any_name(process: GatewayProcess) -> None:
    for name in ("tok_1", "pm_card_mastercard", "pm_1ABC"):
        intent = await moved(process, await made(process, payment_method=name), "confirm")
        assert intent["status"] == "requires_capture"


async def test_declines_are_told_by_number_and_by_turn(process: GatewayProcess) -> None:
    async def statuses(number: int) -> list[int]:
        asked = [await process.ask("POST", INTENTS, GOOD | {"confirm": "true"}) for _ in range(number)]
        return [status for status, _ in asked]

    await process.tell("decline", times=2, code="lost_card")
    assert await statuses(4) == [402, 402, 200, 200]
    await process.tell("decline", on="confirm")
    await process.tell("decline", on="create", times=2)
    assert await statuses(3) == [402, 402, 200]
    await process.clear()
    await process.tell("decline", every=3)
    assert await statuses(7) == [200, 200, 402, 200, 200, 402, 200]


async def test_a_fault_is_spent_also_by_a_request_that_is_refused(process: GatewayProcess) -> None:
    await process.tell("delay", on="create", seconds=0.0)
    assert (await process.ask("POST", INTENTS, GOOD | {"amount": "0"}))[0] == 400
    assert (await process.ask("GET", "/_gateway/faults"))[1] == {"faults": []}


async def test_webhooks_come_twice_late_in_another_order_or_never(process: GatewayProcess, taking: Receiver) -> None:
    capturable, taken = "payment_intent.amount_capturable_updated", "payment_intent.succeeded"
    await process.tell("webhook_twice", on=capturable)
    twice = await moved(process, await made(process), "confirm")
    await eventually(lambda: taking.types(twice["id"]) == [capturable, capturable])
    assert taking.events[-1] == taking.events[-2]
    await process.tell("webhook_lose", on=capturable)
    lost = await moved(process, await made(process), "confirm", "capture")
    await eventually(lambda: taking.types(lost["id"]) == [taken])
    await process.tell("webhook_late", seconds=0.4, on=capturable)
    late = await moved(process, await made(process), "confirm", "capture")
    await eventually(lambda: taking.types(late["id"]) == [taken, capturable])
    await process.tell("webhook_reorder", on=capturable)
    turned = await moved(process, await made(process), "confirm")
    await asyncio.sleep(0.3)
    assert taking.types(turned["id"]) == []
    await moved(process, turned, "capture")
    await eventually(lambda: taking.types(turned["id"]) == [taken, capturable])
    listed = (await process.ask("GET", "/_gateway/webhooks"))[1]["webhooks"]
    states = {(each["subject"], each["type"]): each["state"] for each in listed}
    assert (states[lost["id"], capturable], states[lost["id"], taken]) == ("lost", "sent")


async def test_a_webhook_that_is_not_taken_is_sent_again(process: GatewayProcess, taking: Receiver) -> None:
    taking.statuses[:] = [503, 400]
    intent = await moved(process, await made(process), "cancel")
    await eventually(lambda: len(taking.types(intent["id"])) == 3)
    signatures = {header for body, header in taking.got if intent["id"].encode() in body}
    assert len({header.partition(",")[0] for header in signatures}) > 1  # each attempt is signed anew


async def test_kill_9_loses_nothing_that_was_answered(process: GatewayProcess, taking: Receiver) -> None:
    payments = [str(charge_of().payment_id) for _ in range(100)]
    acknowledged: dict[str, str] = {}
    taking.statuses[:] = [503] * 1_000  # webhooks wait, so that they have to survive too
    few_at_once = asyncio.Semaphore(4)

    async def hold(payment: str) -> None:
        form = GOOD | {"confirm": "true", "metadata[payment_id]": payment}
        async with few_at_once:
            status, intent = await process.ask("POST", INTENTS, form, key=f"kill-{payment}")
        assert status == 200
        assert acknowledged.setdefault(payment, intent["id"]) == intent["id"]

    asking = asyncio.gather(*map(hold, payments), return_exceptions=True)
    await eventually(lambda: len(acknowledged) >= 20)
    await asyncio.to_thread(process.end, signal.SIGKILL)
    await asking
    assert 20 <= len(acknowledged) < 100
    taking.statuses.clear()
    await asyncio.to_thread(process.start)
    await asyncio.gather(*map(hold, payments))  # each asks again with its key
    rows = (await process.ask("GET", "/_gateway/ledger"))[1]["rows"]
    held = {row["metadata"]["payment_id"]: row["held"] for row in rows if row["metadata"].get("payment_id") in payments}
    assert held == dict.fromkeys(payments, 1_275)
    assert len([row for row in rows if row["metadata"].get("payment_id") in payments]) == 100
    await eventually(lambda: all(taking.types(intent) for intent in acknowledged.values()))


async def test_a_second_gateway_on_the_same_file_is_refused(process: GatewayProcess) -> None:
    second = GatewayProcess(process.folder)
    done = await asyncio.to_thread(second.command)
    assert (done.returncode, "does another gateway run on it?" in done.stderr) == (1, True)


async def test_without_the_key_nothing_is_served_but_health(process: GatewayProcess) -> None:
    async with aiohttp.ClientSession() as http:
        for path in (INTENTS, "/_gateway/ledger", "/_gateway/faults"):
            async with http.get(process.url + path) as answer:
                assert (answer.status, KEY in await answer.text()) == (401, False)
        basic = {"Authorization": aiohttp.encode_basic_auth(KEY, "")}
        async with http.get(process.url + "/_gateway/ledger", headers=basic) as answer:
            assert answer.status == 200
        async with http.get(process.url + "/_gateway/health") as answer:
            assert answer.status == 200


async def test_a_body_that_is_too_large_or_no_form_is_refused(process: GatewayProcess) -> None:
    most = serving.BODY_BYTES_MAX
    for body, wanted in ((b"a=" + b"x" * most, 413), (b"\xff=1", 400), (b"a=1&" * 1_000, 400), (b"&&&", 400)):
        status, answer = await process.ask("POST", INTENTS, body)
        assert (status, bool(answer["error"]["message"])) == (wanted, True)


async def test_the_command_line_tells_lists_and_clears(process: GatewayProcess) -> None:
    told = await asyncio.to_thread(process.command, "tell", "decline", "--times", "3")
    assert told.returncode == 0, told.stderr
    listed = json.loads((await asyncio.to_thread(process.command, "faults")).stdout)["faults"]
    assert [(each["kind"], each["times"], each["seen"]) for each in listed] == [("decline", 3, 0)]
    assert json.loads((await asyncio.to_thread(process.command, "faults", "--clear")).stdout) == {"cleared": 1}
    refused = await asyncio.to_thread(process.command, "tell", "explode")
    assert (refused.returncode, "explode" in refused.stderr, refused.stdout) == (1, True, "")
    assert "sums" in (await asyncio.to_thread(process.command, "ledger")).stdout
