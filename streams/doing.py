"""What is done in the world: a function for each kind of effect. Each returns when it is done, and may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import uuid5

from adapters.effects_ledger import Effect
from adapters.payment_gateway import CONNECTIONS_MAX
from adapters.wiring import Kontor
from commands.handling import Actor
from commands.inventory import ExpireHolds
from commands.notifications import MAIL
from domain.identity import OrderId
from domain.orders import OrderStatus
from streams.confirming import confirm
from streams.effects import Do
from streams.mailing import send
from streams.settling import NotYet, settle

ACTOR: Final = Actor.system("checkout")
AT_ONCE: Final = {
    "payment": CONNECTIONS_MAX,  # each waits for the provider most of its time
    "order": 8,
    "provider": 8,  # asks it what it has told; one of a payment at a time
    MAIL: 4,  # mail servers take few connections of one sender
}


def doers(kontor: Kontor) -> Mapping[str, Do[Effect]]:
    """By kind."""

    async def settle_payment(effect: Effect) -> None:
        await settle(kontor, effect.subject_id, correlation_id=effect.correlation_id)

    async def ask_provider(effect: Effect) -> None:
        await confirm(kontor, effect.subject_id, correlation_id=effect.correlation_id)

    async def expire_order(effect: Effect) -> None:
        # By the clock of this machine, which may think otherwise than the database's.
        command = ExpireHolds(order_id=OrderId(effect.subject_id))
        outcome = await kontor.pipeline.execute(
            command, actor=ACTOR, causation_id=effect.event_id, correlation_id=effect.correlation_id
        )
        if getattr(outcome.aggregate, "status", None) is OrderStatus.RESERVED:
            raise NotYet(f"order {effect.subject_id} is RESERVED, and it is not yet time by this machine's clock")

    async def send_mail(effect: Effect) -> None:
        template = effect.effect.partition(".")[2]
        event_id, subject_id = effect.event_id, effect.subject_id
        await send(
            kontor, effect_id=uuid5(event_id, effect.effect), event_id=event_id, template=template,
            subject_id=subject_id, correlation_id=effect.correlation_id,
        )  # fmt: skip

    return {"payment": settle_payment, "order": expire_order, "provider": ask_provider, MAIL: send_mail}
