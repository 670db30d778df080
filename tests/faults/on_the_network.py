"""What the network does between Kontor's processes and a server: every sort of bad weather, in any order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tests.faults.proxy import CLEAR, Weather
from tests.faults.scene import Scene

LASTS_S: Final = (0.8, 1.5)
LASTS_LONG_S: Final = (4.0, 12.0)

WEATHERS: Final = {
    "slow": Weather(delay_s=0.5),
    "narrow": Weather(bytes_a_s=10_000),
    "in slices": Weather(slice_bytes=50),
    "reset": Weather(refuses=True),
    "black hole": Weather(stands=True),
    "black hole, then reset": Weather(stands=True),
}


def bad_weather(server: str) -> Callable[[Scene], Awaitable[None]]:
    """Before one server."""

    async def weather(scene: Scene) -> None:
        proxy = scene.system.proxies[server]
        pids = {name: await scene.pid(name) for name in ("api", "relay")}
        try:
            for name, each in scene.dice.sample(list(WEATHERS.items()), k=len(WEATHERS)):
                proxy.weather = each
                if each.refuses:
                    proxy.cut()
                await scene.moment(*(LASTS_LONG_S if scene.long else LASTS_S))
                if name.endswith("then reset"):
                    proxy.cut()
                proxy.weather = CLEAR
                await scene.moment(0.2, 0.5)
        finally:
            proxy.weather = CLEAR
        for name, pid in pids.items():
            scene.require(await scene.pid(name) == pid, f"{name} was started again because of {server}")

    return weather
