"""`python -m tests.api.fuzz_compiled --seconds 300`: both paths, shop after shop, until the time is up.

Needs a stack that runs (KONTOR_HOME says which) and makes a database of its own on its servers. Prints the seeds; a
difference is printed with its document and ends the run with exit code 1.
"""

# ruff: noqa: T201  # a program that prints what it found

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from random import Random

from adapters.wiring import Kontor, open_kontor
from cli.stack.home import default_home
from tests.api.comparing import alike
from tests.api.made_documents import Maker
from tests.api.made_rows import Shop, stored_shop
from tests.conftest import Stack, installation_on

DOCUMENTS_A_SHOP = 300


async def compared(kontor: Kontor, shop: Shop, seed: str) -> bool:
    """One document. True when the compiled path answered it. Raises AssertionError for a difference."""
    chance = Random(seed)
    made = Maker(chance, shop).made()
    return await alike(kontor, chance.choice(shop.actors), made, fresh_only=chance.randrange(10) == 0)


async def fuzz(seconds: float, seed: int) -> int:
    """1 for a difference."""
    counted: Counter[bool] = Counter()
    stop = time.monotonic() + seconds
    async with installation_on(Stack(default_home().path)) as settings, open_kontor(settings, name="fuzz") as kontor:
        while time.monotonic() < stop:
            shop = await stored_shop(kontor, seed)
            for number in range(DOCUMENTS_A_SHOP):
                try:
                    counted[await compared(kontor, shop, f"{seed}-{number}")] += 1
                except AssertionError as error:
                    print(f"seed {seed}-{number}: {error}")
                    return 1
            print(
                f"seed {seed}: {counted[True]:,} documents compiled, {counted[False]:,} left to Strawberry", flush=True
            )
            seed += 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(fuzz(given.seconds, given.seed)))
