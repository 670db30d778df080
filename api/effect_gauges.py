"""The ledger of effects as figures at `/metrics`: what is due, what was given up, which providers answer."""

from __future__ import annotations

from adapters.effects_ledger import EffectsLedger
from adapters.metrics import BREAKER_STATE, EFFECTS, EFFECTS_OLDEST_S
from api.gauges import Gauges


class EffectGauges(Gauges):
    """Figures of every kind of effect."""

    name = "effects"
    gauges = (EFFECTS, EFFECTS_OLDEST_S, BREAKER_STATE)

    def __init__(self, ledger: EffectsLedger) -> None:
        super().__init__()
        self._ledger = ledger

    async def _look(self) -> None:
        standing, breakers = await self._ledger.standing(), await self._ledger.breakers()
        self._clear()
        for kind, state, count, oldest_s in standing:
            EFFECTS.labels(kind, state).set(count)
            if state == "waiting":
                EFFECTS_OLDEST_S.labels(kind).set(max(0.0, oldest_s))
        for kind, breaker, _ in breakers:
            BREAKER_STATE.labels(kind, breaker).set(1)
