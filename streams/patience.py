"""When a follower that stays behind what was published is refilled from the log, and when its worker gives up.

One that does not move for PATIENCE_S is refilled. So is one of a partition that is not assigned to this worker,
after STRAY_PATIENCE_S: a group that was assigned while a topic was away leaves its partitions to nobody, and only
joining the group anew heals that. When that goes on for REJOIN_AFTER_S, the worker ends and is started again.

A worker that has not been let into its group yet, which first waits for the session of one that was killed to end,
refills whatever stands still for JOINING_PATIENCE_S (for JOINING_S_MAX): it has nothing else to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

PATIENCE_S: Final = 3.0
STRAY_PATIENCE_S: Final = 5.0
JOINING_PATIENCE_S: Final = 1.0
JOINING_S_MAX: Final = 120.0  # one that has nothing after that is one more than there are partitions
REJOIN_AFTER_S: Final = 20.0
FORGOTTEN_AFTER_S: Final = 300.0

Chained = tuple[str, str, int]  # follower, context, shard


class Unassigned(Exception):
    """Partitions have records and no worker of the group reads them."""


@dataclass(slots=True)
class Patience:
    """How long who has been behind without moving. Times are of one monotonic clock, in seconds."""

    _standing: dict[Chained, tuple[int, float]] = field(default_factory=dict)
    _strays: list[float] = field(default_factory=list)  # when a partition of nobody was seen: first and last
    _joined: bool = False
    _began: float | None = None

    def lost(
        self, behind: dict[Chained, tuple[int, int]], assigned: set[tuple[str, int]], now: float
    ) -> dict[Chained, int]:
        """Of those behind (position, published), the ones to refill, each with the position to refill up to.

        Raises Unassigned when partitions that are not assigned here (context, shard) have needed it for too long."""
        self._joined = self._joined or bool(assigned)
        self._began = now if self._began is None else self._began
        before = self._standing
        self._standing = {}
        for key, (position, _) in behind.items():
            stood_at, since = before.get(key, (position, now))
            self._standing[key] = (position, since if stood_at == position else now)
        waited = {key: now - since for key, (_, since) in self._standing.items()}
        joining = not self._joined and now - self._began < JOINING_S_MAX
        patience_s = JOINING_PATIENCE_S if joining else STRAY_PATIENCE_S
        strays = {key for key in waited if key[1:] not in assigned and waited[key] >= patience_s}
        if self._joined:
            self._complain({f"{context}/{shard}" for _, context, shard in strays}, now)
        return {
            key: behind[key][1]
            for key in waited
            if key in strays or (key[1:] in assigned and waited[key] >= PATIENCE_S)
        }

    def _complain(self, strays: set[str], now: float) -> None:
        if self._strays and now - self._strays[-1] > FORGOTTEN_AFTER_S:
            self._strays = []
        if not strays:
            return
        self._strays = [*self._strays[:1], now]
        if now - self._strays[0] >= REJOIN_AFTER_S:
            raise Unassigned(
                f"no worker has read {', '.join(sorted(strays))} for {now - self._strays[0]:.0f} s: this one ends, and"
                " joins the group anew when it is started again"
            )
