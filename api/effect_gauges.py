"""The ledgers of effects as figures at `/metrics`: what is due, what was given up, which providers answer."""

from __future__ import annotations

from collections import Counter

from adapters.deliveries_ledger import DeliveriesLedger
from adapters.effects_ledger import EffectsLedger
from adapters.metrics import BREAKER_STATE, EFFECTS, EFFECTS_OLDEST_S
from api.gauges import Gauges


class EffectGauges(Gauges):
    """Figures of every kind of effect. Webhook endpoints may be thousands: they are counted, not named."""

    name = "effects"
    gauges = (EFFECTS, EFFECTS_OLDEST_S, BREAKER_STATE)

    def __init__(self, ledger: EffectsLedger, deliveries: DeliveriesLedger) -> None:
        super().__init__()
        self._ledger = ledger
        self._deliveries = deliveries

    async def _look(self) -> None:
        standing = await self._ledger.standing() + await self._deliveries.standing()
        breakers = Counter((kind.partition(".")[0], state) for kind, state, _ in await self._ledger.breakers())
        self._clear()
        for kind, state, count, oldest_s in standing:
            EFFECTS.labels(kind, state).set(count)
            if state == "waiting":
                EFFECTS_OLDEST_S.labels(kind).set(max(0.0, oldest_s))
        for (kind, breaker), count in breakers.items():
            BREAKER_STATE.labels(kind, breaker).set(count)
