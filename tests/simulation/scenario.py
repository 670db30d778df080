"""One run: a shop in motion, everything that can go wrong, then calm, and what must be true afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Final

from commands.catalogue import AddProduct, RepriceProduct
from commands.inventory import AdjustStock, ReceiveStock
from commands.orders import CancelOrder, PlaceOrder, ShipOrder, WantedLine
from commands.payments import AuthorisePayment
from commands.users import EraseUser, RegisterUser
from domain.identity import OrderId, ProductId, UserId, payment_id, product_id, shard_of, stock_item_id
from domain.money import Money
from tests.simulation.cast import Client, Host, Poison, Stage, Worker, relay, views_of, wish_for_all
from tests.simulation.checker import violations, what_is_left
from tests.simulation.loop import run
from tests.simulation.relaying import depose
from tests.simulation.world import World

CLIENTS: Final = 2
SHARDS: Final = frozenset(range(12))
SKUS_MAX: Final = 3
SKUS: Final = tuple(f"S{number}" for number in range(500))
QUIET_WITHIN_S: Final = 120.0
LOOK_S: Final = 0.5


class Violated(AssertionError):
    """A promise was broken under this seed."""


def simulate(seed: int, *, trace: Callable[[str], None] | None = None) -> Counter[str]:
    """Run the seed; returns how often each fault struck. `trace` is told what happens. Raises Violated."""
    world = World(seed)
    world.trace = trace
    found: list[str] = []
    run(_play(world, found))
    if found:
        raise Violated(f"seed {seed}: " + "; ".join(found[:5]) + f"; again with: make simulate SEED={seed}")
    return world.faults


async def _play(world: World, found: list[str]) -> None:
    await Scenario(world).play(found)


@cache
def _skus_in(shards: int) -> list[str]:
    return [sku for sku in SKUS if shard_of(stock_item_id(sku)) < shards]


class Scenario:
    """The clients, the trouble, and the rest afterwards."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice
        self.stage = Stage.of(world, views_of(world))
        self.workers = [Worker(self.stage) for _ in range(2)]
        self.clients = [Client(self.stage, f"client-{number}") for number in range(CLIENTS)]
        self.hosts: list[Host] = []

    async def play(self, found: list[str]) -> None:
        self._assign()
        self.hosts = [Host(self.stage, f"relay-{number}", partial(relay, self.stage)) for number in range(2)]
        self.hosts += [
            Host(self.stage, f"worker-{number}", worker.program) for number, worker in enumerate(self.workers)
        ]
        self._choose_poison()
        trouble = asyncio.create_task(self._trouble())
        await self._shop()
        trouble.cancel()
        await asyncio.wait([trouble])
        await self._heal()
        found += await self._quiet()
        found += violations(self.stage, self.clients)

    async def _shop(self) -> None:
        """What the clients do."""
        first = self.clients[0]
        skus = self._skus()
        registered = await first.send(RegisterUser(email="ada@example.com", name="Ada", password=None))
        if registered is None:
            raise Violated(f"seed {self.world.seed}: nobody has the address, and registering is refused")
        customer = UserId(registered.aggregate_id)
        await asyncio.gather(*(self._stock(self.dice.choice(self.clients), sku) for sku in skus))
        await asyncio.gather(*(self._buy(client, customer, skus) for client in self.clients))
        if self.dice.random() < 0.3:
            await first.send(EraseUser(user_id=customer))

    def _skus(self) -> tuple[str, ...]:
        """Some whose ledgers share shards, as far as this world's aggregates do."""
        return tuple(self.dice.sample(_skus_in(self.world.shards), self.dice.randint(1, SKUS_MAX)))

    async def _stock(self, client: Client, sku: str) -> None:
        await client.send(AddProduct(sku=sku, name=sku, price=Money(100, "GBP")))
        await client.send(ReceiveStock(sku=sku, quantity=self.dice.randint(1, 4)))

    async def _buy(self, client: Client, customer: UserId, skus: tuple[str, ...]) -> None:
        orders: list[OrderId] = []
        for _ in range(self.dice.randint(1, 4)):
            sku = self.dice.choice(skus)
            match self.dice.randrange(8):
                case 0:
                    await client.send(ReceiveStock(sku=sku, quantity=self.dice.randint(1, 3)))
                case 1:
                    await client.send(AdjustStock(sku=sku, on_hand=self.dice.randint(0, 5), reason="counted"))
                case 2:
                    price = Money(self.dice.randint(1, 500), "GBP")
                    await client.send(RepriceProduct(product_id=ProductId(product_id(sku)), price=price))
                case 3 if orders:
                    await client.send(CancelOrder(order_id=self.dice.choice(orders), reason="changed my mind"))
                case 4 if orders:
                    order_id = self.dice.choice(orders)
                    await client.send(AuthorisePayment(payment_id=payment_id(order_id), reference="r"))
                    await client.send(ShipOrder(order_id=order_id, carrier="van", tracking_number="1"))
                case _:
                    chosen = self.dice.sample(skus, self.dice.randint(1, len(skus)))
                    lines = tuple(WantedLine(sku=each, quantity=self.dice.randint(1, 2)) for each in chosen)
                    placed = await client.send(
                        PlaceOrder(lines=lines, currency="GBP", payment_method="card", customer_id=customer)
                    )
                    if placed is not None:
                        orders.append(OrderId(placed.aggregate_id))
            await asyncio.sleep(self.dice.random() * 1.0)

    async def _trouble(self) -> None:
        """What goes wrong, until it is cancelled."""
        faults: list[tuple[str, Callable[[], Awaitable[None] | None]]] = [
            ("relay dies", lambda: self._kill(self.hosts[:2])),
            ("worker dies", lambda: self._kill(self.hosts[2:])),
            ("leader frozen and deposed", lambda: depose(self.stage.database)),
            ("worker frozen", self._freeze_worker),
            ("rebalance", self._assign),
            ("database dies", self._database_dies),
            ("database away", self._database_away),
            ("kafka away", self._kafka_away),
            ("topic made again", self._empty_topic),
            ("offsets reset", self.stage.kafka.offsets.clear),
            ("redis emptied", self.stage.redis.flush),
            ("redis away", self._redis_away),
            ("redis loses its last second", lambda: self.stage.redis.lose_last(1.0)),
        ]
        faults = self.dice.sample(faults, self.dice.randint(1, 6))  # in a run few things go wrong, and often
        while True:
            await asyncio.sleep(self.dice.random() * 1.0)
            name, strike = self.dice.choice(faults)
            self.world.happened(name)
            waiting = strike()
            if waiting is not None:
                await waiting

    def _assign(self) -> None:
        """Who reads which partitions: each one of them, or one both, as while a worker is frozen."""
        if not self.world.calm and self.dice.random() < 0.2:
            shards = [set(SHARDS), set(SHARDS)]
        else:
            mine = {shard for shard in SHARDS if self.dice.random() < 0.5}
            shards = [mine, set(SHARDS - mine)]
        for worker, its_shards in zip(self.workers, shards, strict=True):
            worker.assign(its_shards)

    def _kill(self, hosts: list[Host]) -> None:
        self.dice.choice(hosts).process.kill()

    def _freeze_worker(self) -> None:
        """Its partitions are given to the other, and it does not know."""
        frozen = self.dice.randrange(2)
        self.hosts[2 + frozen].process.freeze(self.dice.random() * 2)
        self.workers[1 - frozen].assign(set(SHARDS))

    async def _database_dies(self) -> None:
        self.stage.database.crash()
        await self._database_away()

    async def _database_away(self) -> None:
        database = self.stage.database
        database.connections += 1
        database.leader = None
        database.away = True
        try:
            await asyncio.sleep(self.dice.random() * 2)
        finally:
            database.away = False

    async def _kafka_away(self) -> None:
        self.stage.kafka.away = True
        try:
            await asyncio.sleep(self.dice.random() * 3)
        finally:
            self.stage.kafka.away = False

    async def _redis_away(self) -> None:
        self.stage.redis.away = True
        try:
            await asyncio.sleep(self.dice.random() * 2)
        finally:
            self.stage.redis.away = False

    def _empty_topic(self) -> None:
        self.stage.kafka.empty(self.dice.choice(["orders", "inventory", "catalogue", "users"]))

    def _choose_poison(self) -> None:
        if self.dice.random() < 0.3:
            names = [view.table for view in self.stage.views]
            self.stage.poison = Poison(self.dice.choice(names), self.dice.randint(1, 3), self.dice.randrange(3))

    async def _heal(self) -> None:
        """Nothing goes wrong any more; an operator may have the parked events retried."""
        self.world.calm = True
        self.world.tell("calm")
        self._assign()
        poison = self.stage.poison
        if poison.follower and self.dice.random() < 0.8:
            await self._quiet()
            # Version 1 makes the row: without it what comes later has none to change.
            discarded = poison.version > 1 and self.dice.random() < 0.4
            poison.mended = not discarded and self.dice.random() < 0.7
            poison.cured = discarded or poison.mended
            await wish_for_all(self.stage, "discard" if discarded else "retry")

    async def _quiet(self) -> list[str]:
        """Wait until nothing is left to do; what is still left after QUIET_WITHIN_S."""
        give_up_at = asyncio.get_running_loop().time() + QUIET_WITHIN_S
        while left := what_is_left(self.stage):
            if asyncio.get_running_loop().time() > give_up_at:
                return [f"not quiet after {QUIET_WITHIN_S:.0f} s: {left}"]
            await asyncio.sleep(LOOK_S)
        return []
