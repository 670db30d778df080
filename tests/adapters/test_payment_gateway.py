"""The adapter against the real gateway process: every call, each twice, and everything that goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from adapters.payment_gateway import StripeGateway
from commands.ports import Charge, GatewayAway, GatewayRefused, ProviderPayment, ProviderStatus
from domain.money import Money
from tests.gateways import GatewayProcess, charge_of, free_port

INTENT = b'{"id":"pi_1","status":"succeeded","amount":1,"currency":"gbp"}'
Call = Callable[[StripeGateway, Charge], Awaitable[ProviderPayment]]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    running = GatewayProcess(tmp_path_factory.mktemp("gateway"))
    running.start()
    yield running
    running.end()


@pytest.fixture
async def gateway(process: GatewayProcess) -> AsyncIterator[StripeGateway]:
    async with process.adapter() as adapter:
        yield adapter
    await process.clear()


async def authorised(gateway: StripeGateway, charge: Charge) -> str:
    payment = await gateway.authorise(charge)
    assert payment.status is ProviderStatus.AUTHORISED
    return payment.reference


async def captured(gateway: StripeGateway, charge: Charge) -> str:
    return (await gateway.capture(charge, await authorised(gateway, charge))).reference


async def refunded(gateway: StripeGateway, charge: Charge) -> str:
    return (await gateway.refund(charge, await captured(gateway, charge))).reference


async def capture(gateway: StripeGateway, charge: Charge) -> ProviderPayment:
    return await gateway.capture(charge, await authorised(gateway, charge))


async def cancel(gateway: StripeGateway, charge: Charge) -> ProviderPayment:
    return await gateway.cancel(charge, await authorised(gateway, charge))


async def cancel_unseen(gateway: StripeGateway, charge: Charge) -> ProviderPayment:
    return await gateway.cancel(charge, None)


async def refund(gateway: StripeGateway, charge: Charge) -> ProviderPayment:
    return await gateway.refund(charge, await captured(gateway, charge))


async def authorise(gateway: StripeGateway, charge: Charge) -> ProviderPayment:
    return await gateway.authorise(charge)


CALLS = [
    pytest.param(authorise, "AUTHORISED", (1_275, 0, 0, 1_275), id="authorise"),
    pytest.param(capture, "CAPTURED", (1_275, 1_275, 0, 0), id="capture"),
    pytest.param(cancel, "CANCELLED", (1_275, 0, 0, 0), id="cancel"),
    pytest.param(cancel_unseen, "CANCELLED", (0, 0, 0, 0), id="cancel unseen"),
    pytest.param(refund, "REFUNDED", (1_275, 1_275, 1_275, 0), id="refund"),
]
FAULTS = [
    {"kind": "answer", "status": 500, "when": "after"},
    {"kind": "answer", "status": 500, "when": "before"},
    {"kind": "answer", "status": 429, "when": "before", "retry_after": 7},
    {"kind": "answer", "status": 409, "when": "before"},
    {"kind": "hang", "when": "after"},
    {"kind": "hang", "when": "before"},
]
HANG_S = 1.5  # an honest answer takes less on a busy machine, too
STEPS = [
    pytest.param(authorise, "create", (1_275, 0, 0, 1_275), id="create"),
    pytest.param(cancel_unseen, "create", (0, 0, 0, 0), id="create to cancel"),
    pytest.param(capture, "capture", (1_275, 1_275, 0, 0), id="capture"),
    pytest.param(cancel, "cancel", (1_275, 0, 0, 0), id="cancel"),
    pytest.param(refund, "refund", (1_275, 1_275, 1_275, 0), id="refund"),
]


@pytest.mark.parametrize(("call", "status", "money"), CALLS)
async def test_what_is_asked_twice_is_done_once(
    process: GatewayProcess, gateway: StripeGateway, call: Call, status: str, money: tuple[int, int, int, int]
) -> None:
    charge = charge_of()
    first, again = await call(gateway, charge), await call(gateway, charge)
    assert (first.status, first.reference, again) == (status, again.reference, first)
    assert await process.money_of(charge.payment_id) == money


@pytest.mark.parametrize(("call", "operation", "money"), STEPS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']} {fault.get('status')} {fault['when']}")
async def test_a_call_without_an_answer_is_repeated_and_done_once(
    process: GatewayProcess,
    call: Call,
    operation: str,
    money: tuple[int, int, int, int],
    fault: dict[str, object],
) -> None:
    charge = charge_of()
    await process.tell(**fault, on=operation)
    patience_s = HANG_S if fault["kind"] == "hang" else 30.0
    async with process.adapter(timeout_s=patience_s) as hurried, process.adapter(timeout_s=30.0) as gateway:
        with pytest.raises(GatewayAway) as away:
            await call(hurried, charge)
        payment = await call(gateway, charge)
    assert (f"was not answered in {HANG_S} s" in str(away.value)) == (fault["kind"] == "hang")
    assert away.value.retry_after_s == (7 if "retry_after" in fault else None)
    assert await process.money_of(charge.payment_id) == money
    assert payment.reference == (await process.rows_of(charge.payment_id))[0]["intent"]


@pytest.mark.parametrize("call", [capture, cancel, refund])
async def test_when_the_provider_has_forgotten_the_key_what_is_done_is_reported_as_done(
    process: GatewayProcess, gateway: StripeGateway, call: Call
) -> None:
    charge = charge_of()
    first = await call(gateway, charge)
    await process.ask("DELETE", "/_gateway/idempotency_keys")
    again = await getattr(gateway, call.__name__)(charge, first.reference)
    assert again == first
    assert len(await process.rows_of(charge.payment_id)) == 1


@pytest.mark.parametrize("call", [capture, cancel, refund])
async def test_a_failure_that_the_provider_keeps_under_the_key_is_seen_through(
    process: GatewayProcess, gateway: StripeGateway, call: Call
) -> None:
    charge = charge_of()
    await process.tell("answer", status=500, keep=True, on=call.__name__)
    with pytest.raises(GatewayAway):
        await call(gateway, charge)
    assert (await call(gateway, charge)).status in ("CAPTURED", "CANCELLED", "REFUNDED")


async def test_a_decline_is_an_answer_and_the_same_one_again(process: GatewayProcess, gateway: StripeGateway) -> None:
    charge = charge_of("pm_card_chargeDeclinedInsufficientFunds")
    first, again = await gateway.authorise(charge), await gateway.authorise(charge)
    assert first == again == await gateway.look_up(first.reference)
    assert (first.status, first.reason) == ("DECLINED", "insufficient_funds: Your card has insufficient funds.")
    assert await process.money_of(charge.payment_id) == (0, 0, 0, 0)


async def test_what_was_made_unconfirmed_with_the_key_is_told_as_it_is_and_never_confirmed(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    for method, confirmed, status in (
        ("pm_card_visa", True, "AUTHORISED"),
        ("pm_card_chargeDeclined", True, "DECLINED"),
        ("pm_gateway_processing", True, "PENDING"),
        ("pm_card_visa", False, "CANCELLED"),  # a cancellation died before it cancelled
    ):
        charge = charge_of(method)
        reference = (await gateway._created(charge, confirm=False)).id
        if confirmed:
            await process.ask("POST", f"/v1/payment_intents/{reference}/confirm")
        for _ in range(2):
            payment = await gateway.authorise(charge)
            assert (payment.status, payment.reference) == (status, reference)
        assert (await process.money_of(charge.payment_id))[3] == (1_275 if status == "AUTHORISED" else 0)


async def test_after_capture_and_after_cancellation_an_authorisation_moves_nothing(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    for call, money in ((gateway.capture, (1_275, 1_275, 0, 0)), (gateway.cancel, (1_275, 0, 0, 0))):
        charge = charge_of()
        first = await gateway.authorise(charge)
        await call(charge, first.reference)
        assert await gateway.authorise(charge) == first  # the key's answer: what the call did, not what is now
        assert await process.money_of(charge.payment_id) == money


async def test_a_decline_takes_one_request_and_needs_no_cancelling(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    charge = charge_of("pm_card_chargeDeclined")
    for operation in ("retrieve", "search", "cancel", "confirm"):
        await process.tell("answer", status=500, when="before", on=operation, every=1)
    declined = await gateway.authorise(charge)
    assert declined.status is ProviderStatus.DECLINED
    assert await gateway.cancel(charge, None) == declined


@pytest.mark.parametrize("then", [authorise, cancel_unseen])
@pytest.mark.parametrize(
    ("method", "authorised", "held"), [("pm_card_visa", "AUTHORISED", 1_275), ("pm_card_chargeDeclined", "DECLINED", 0)]
)
async def test_an_authorisation_whose_failure_is_kept_is_found_by_its_payment(
    process: GatewayProcess, gateway: StripeGateway, then: Call, method: str, authorised: str, held: int
) -> None:
    charge = charge_of(method)
    await process.tell("answer", status=500, keep=True, on="create")
    with pytest.raises(GatewayAway):
        await gateway.authorise(charge)
    cancelled = authorised if authorised == "DECLINED" else "CANCELLED"
    assert (await then(gateway, charge)).status == (authorised if then is authorise else cancelled)
    assert (await process.money_of(charge.payment_id))[3] == (held if then is authorise else 0)


@pytest.mark.parametrize("call", [authorise, cancel_unseen])
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_while_what_failed_cannot_be_found_it_stays_to_be_asked_again(
    process: GatewayProcess, gateway: StripeGateway, call: Call, status: int
) -> None:
    charge = charge_of()
    await process.tell("answer", status=500, keep=True, when="before", on="create")
    with pytest.raises(GatewayAway):
        await gateway.authorise(charge)
    if status != 200:
        await process.tell("answer", status=status, when="before", on="search")
    with pytest.raises(GatewayAway):
        await call(gateway, charge)
    assert await process.rows_of(charge.payment_id) == []


@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("method", ["pm_card_threeDSecure2Required", "pm_gateway_processing"])
async def test_a_payment_that_waits_is_pending_until_it_is_decided(
    process: GatewayProcess, gateway: StripeGateway, method: str, succeeds: bool
) -> None:
    charge = charge_of(method)
    first, again = await gateway.authorise(charge), await gateway.authorise(charge)
    assert first == again == await gateway.look_up(first.reference)
    assert first.status is ProviderStatus.PENDING
    path = f"/_gateway/payment_intents/{first.reference}/complete"
    await process.ask("POST", path, json={"succeeds": succeeds})
    found = await gateway.look_up(first.reference)
    assert (found.status, bool(found.reason)) == (("AUTHORISED", False) if succeeds else ("DECLINED", True))


async def test_after_cancelling_unseen_a_late_authorisation_holds_nothing(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    charge = charge_of()
    await gateway.cancel(charge, None)
    assert (await gateway.authorise(charge)).status is ProviderStatus.CANCELLED
    assert await process.money_of(charge.payment_id) == (0, 0, 0, 0)


async def test_cancelling_unseen_lets_go_of_what_was_held(process: GatewayProcess, gateway: StripeGateway) -> None:
    for method, authorised in (("pm_card_visa", 1_275), ("pm_card_threeDSecure2Required", 0)):
        charge = charge_of(method)
        await gateway.authorise(charge)
        for _ in range(2):
            assert (await gateway.cancel(charge, None)).status is ProviderStatus.CANCELLED
        assert await process.money_of(charge.payment_id) == (authorised, 0, 0, 0)


async def test_while_the_key_is_at_work_both_that_want_it_are_told_to_come_later(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    charge = charge_of()
    await process.tell("delay", on="create", seconds=2.0)
    first = asyncio.create_task(gateway.authorise(charge))
    await process.struck()
    for call in (authorise, cancel_unseen):
        with pytest.raises(GatewayAway, match="409 idempotency_key_in_use"):
            await call(gateway, charge)
    assert await gateway.cancel(charge, (await first).reference)
    assert await process.money_of(charge.payment_id) == (1_275, 0, 0, 0)


async def until_done(call: Callable[[], Awaitable[ProviderPayment]]) -> ProviderPayment:
    for _ in range(3_000):
        try:
            return await call()
        except GatewayAway:  # the other one with this key is still at it
            await asyncio.sleep(0.01)
    raise AssertionError("never answered")


@pytest.mark.parametrize("first", [authorise, cancel_unseen])
async def test_authorising_and_cancelling_at_once_hold_nothing_in_the_end(
    process: GatewayProcess, gateway: StripeGateway, first: Call
) -> None:
    charge = charge_of()
    calls = [first, *[authorise, cancel_unseen] * 8]
    done = await asyncio.gather(*(until_done(partial(call, gateway, charge)) for call in calls))
    assert len({payment.reference for payment in done}) == 1
    assert {payment.status for payment in done} <= {ProviderStatus.AUTHORISED, ProviderStatus.CANCELLED}
    assert (await process.money_of(charge.payment_id))[3] == 0


async def test_many_at_once_with_one_charge_hold_and_take_once(process: GatewayProcess, gateway: StripeGateway) -> None:
    charge = charge_of()
    held = await asyncio.gather(*(until_done(lambda: gateway.authorise(charge)) for _ in range(12)))
    (reference,) = {payment.reference for payment in held}
    assert {payment.status for payment in held} == {ProviderStatus.AUTHORISED}
    await asyncio.gather(*(until_done(lambda: gateway.capture(charge, reference)) for _ in range(12)))
    assert await process.money_of(charge.payment_id) == (1_275, 1_275, 0, 0)


async def test_what_can_never_be_done_is_refused_with_the_reason(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    charge = charge_of()
    taken = await captured(gateway, charge)
    with pytest.raises(GatewayRefused, match="CAPTURED at the provider and cannot be CANCELLED"):
        await gateway.cancel(charge, taken)
    with pytest.raises(GatewayRefused, match="No such PaymentMethod: 'account'"):
        await gateway.authorise(charge_of("account"))
    with pytest.raises(GatewayRefused, match="404 resource_missing"):
        await gateway.look_up(f"pi_nowhere/../{taken}")
    held = charge_of()
    reference = await authorised(gateway, held)
    with pytest.raises(GatewayRefused, match="AUTHORISED at the provider and cannot be REFUNDED"):
        await gateway.refund(held, reference)
    async with process.adapter(key="sk_test_of_another") as stranger:
        with pytest.raises(GatewayRefused, match="401") as refusal:
            await stranger.authorise(charge_of())
    assert "sk_test" not in str(refusal.value)


async def test_an_authorisation_that_the_provider_refuses_is_refused(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    charge = charge_of()
    await process.tell("answer", status=400, when="before", on="create")
    with pytest.raises(GatewayRefused, match="400 parameter_invalid"):
        await gateway.authorise(charge)
    assert await process.rows_of(charge.payment_id) == []
    await gateway.authorise(charge)
    for call in (authorise, cancel_unseen):  # the key has been used with another amount
        with pytest.raises(GatewayRefused, match="same parameters"):
            await call(gateway, replace(charge, amount=Money(1_276, "GBP")))


async def test_an_answer_about_other_money_or_another_payment_is_refused(gateway: StripeGateway) -> None:
    charge, other = charge_of(), charge_of()
    reference = await authorised(gateway, charge)
    for asked in (replace(charge, amount=Money(1_274, "GBP")), replace(charge, amount=Money(1_275, "EUR"))):
        with pytest.raises(GatewayRefused, match=r"1275 GBP, and 127[45] (GBP|EUR) \(minor units\) were asked"):
            await gateway.capture(replace(asked, key="another"), reference)
    with pytest.raises(GatewayRefused, match=f"belongs to payment {charge.payment_id}"):
        await gateway.cancel(other, reference)


@pytest.mark.parametrize("amount", [Money(500, "ISK"), Money(500, "UGX"), Money(500, "MGA"), Money(1_005, "KWD")])
async def test_a_currency_that_the_provider_counts_otherwise_is_refused_before_anything_is_sent(
    process: GatewayProcess, gateway: StripeGateway, amount: Money
) -> None:
    charge = replace(charge_of(), amount=amount)
    with pytest.raises(GatewayRefused, match=amount.currency):
        await gateway.authorise(charge)
    assert await process.rows_of(charge.payment_id) == []


async def test_currencies_without_and_with_three_decimals_are_charged_as_they_are(
    process: GatewayProcess, gateway: StripeGateway
) -> None:
    for amount in (Money(500, "JPY"), Money(1_010, "KWD")):
        charge = replace(charge_of(), amount=amount)
        await captured(gateway, charge)
        assert (await process.money_of(charge.payment_id))[1] == amount.minor


async def test_nobody_there_is_away() -> None:
    async with StripeGateway(f"http://127.0.0.1:{free_port()}", "sk_test_secret", timeout_s=2) as gateway:
        with pytest.raises(GatewayAway, match="ClientConnectorError") as away:
            await gateway.authorise(charge_of())
    assert "sk_test" not in str(away.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n" + INTENT + b" " * 1_100_000,
        b"",
        b"hello\r\n\r\n",
    ],
    ids=["no intent", "cut off", "endless", "nothing", "no HTTP"],
)
async def test_a_broken_answer_is_away(answer: bytes) -> None:
    async def break_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(break_it, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with StripeGateway(f"http://127.0.0.1:{port}", "sk_test_1", timeout_s=2) as gateway:
            with pytest.raises(GatewayAway):
                await gateway.look_up("pi_1")
