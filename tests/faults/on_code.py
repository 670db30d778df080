"""Old and new code side by side: the new appends what the old cannot read. On an installation of its own, because
its log can be read by no other code afterwards."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from aiokafka.admin import AIOKafkaAdminClient
from psycopg.sql import SQL, Identifier

from adapters.kafka import ensure_topics
from adapters.parked_events import ParkedEvent, ParkedEvents
from adapters.schema import migrate
from adapters.settings import Settings
from adapters.wiring import Kontor, open_kontor
from cli.demo import load_demo
from cli.processes import environment_of
from cli.stack.process import Spec
from domain import CONTEXTS
from domain.identity import stock_item_id
from streams.verification import Finding, Verdict
from tests.conftest import ROOT
from tests.faults.scene import Scene
from tests.faults.system import System
from tests.gateways import free_port

NEW_SKUS: Final = 3
OLD_WORKER: Final = "worker of the old code"
# In the new code a receipt of stock has a field more, and is followed by an event that the old has never heard of.
CHANGES: Final = (
    ("class_version = 2\n        quantity: int\n        reference: Plain",
     "class_version = 3\n        quantity: int\n        dock: int\n        reference: Plain"),
    ('    class Adjusted(Aggregate.Event):\n        TOPIC = "stock.adjusted"',
     '    class Weighed(Aggregate.Event):\n        TOPIC = "stock.weighed"\n'
     "        AUDIENCE = Audience.BUSINESS\n        grams: int\n\n"
     '    class Adjusted(Aggregate.Event):\n        TOPIC = "stock.adjusted"'),
    ("        @staticmethod\n        def upcast_v1_v2(",
     '        @staticmethod\n        def upcast_v2_v3(state: dict[str, Any]) -> None:\n'
     '            state["dock"] = 0\n\n'
     "        @staticmethod\n        def upcast_v1_v2("),
    ("self.trigger_event(self.Received, timestamp=now, quantity=quantity, reference=reference)",
     "self.trigger_event(self.Received, timestamp=now, quantity=quantity, reference=reference, dock=7)\n"
     "        self.trigger_event(self.Weighed, grams=5, timestamp=now)"),
)  # fmt: skip


@asynccontextmanager
async def installation_of_its_own(system: System, seed: int) -> AsyncIterator[tuple[str, Settings]]:
    """A database, topics, a group and processes of its own, on the same servers; where its API is, and its settings."""
    name, whole = f"faults{seed}x{random.randrange(10**6)}", system.settings
    port = free_port()
    settings = whole.model_copy(
        update={
            "postgres_url": whole.postgres_url.rpartition("/")[0] + f"/{name}",
            "topic_prefix": f"{name}.",
            "worker_group": name,
            "http_port": port,
        }
    )
    async with await psycopg.AsyncConnection.connect(whole.postgres_url, autocommit=True) as admin:
        await admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        await migrate(settings.postgres_url)
        await ensure_topics(settings.brokers, prefix=settings.topic_prefix, replication_factor=1, min_insync_replicas=1)
        async with open_kontor(settings, name="faults") as kontor:
            await load_demo(kontor)
        variables = environment_of(settings)
        parts = {f"{each} of the old code": each for each in ("relay", "worker", "api")}
        try:
            await asyncio.gather(
                *(
                    system.started(called, system.program(each, variables, called=called))
                    for called, each in parts.items()
                )
            )
            yield f"http://127.0.0.1:{port}", settings
        finally:
            everybody = (*parts, "api of the new code", "worker of the new code")
            await asyncio.gather(*(system.stopped(called) for called in everybody))
            await admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
            kafka = AIOKafkaAdminClient(bootstrap_servers=whole.kafka_url)
            await kafka.start()
            try:
                await kafka.delete_topics([settings.topic_prefix + context for context in CONTEXTS])
            finally:
                await kafka.close()


async def new_code_beside_the_old(scene: Scene) -> None:
    """A new API appends, the old worker parks what it cannot read; a new worker takes over and applies it."""
    source = _new_source(scene)
    port = free_port()
    variables = environment_of(scene.settings) | {"KONTOR_HTTP_PORT": str(port)}
    await scene.system.started("api of the new code", _of(source, scene, "api", variables))
    skus = [scene.crowd.sku(900 + number) for number in range(NEW_SKUS)]
    new = replace(scene.crowd, url=f"http://127.0.0.1:{port}")
    for sku in skus:
        price = {"amount": "2.55", "currency": "GBP"}
        await new.send(scene.http, "staff", "add-product", {"sku": sku, "name": "Cup", "price": price})
        for _ in range(3):
            await new.send(scene.http, "staff", "receive-stock", {"sku": sku, "quantity": 9})
    wanted = {stock_item_id(sku) for sku in skus}

    async def parked() -> bool:
        return {each.aggregate_id for each in await _parked(scene.kontor)} >= wanted

    scene.require(await scene.until(parked), "the old worker has not parked what it cannot read")
    for sku in skus:
        order = {"lines": [{"sku": sku, "quantity": 1}], "currency": "GBP", "paymentMethod": "tok_1"}
        await scene.crowd.send(scene.http, "customer", "place-order", order)
    receipt = {"sku": skus[0], "quantity": 9}
    status, body = await scene.crowd.attempt(scene.http, "staff", "receive-stock", receipt, str(uuid4()))
    told = (status, body.get("code"), "a newer one has written it" in body.get("detail", ""))
    scene.require(told == (503, "UNAVAILABLE", True), f"the old API does not say what it cannot read: {status} {body}")
    await scene.moment(1, 2)
    first: dict[UUID, int] = {}
    for each in await _parked(scene.kontor):
        first.setdefault(each.aggregate_id, each.version)
    # Version 1 opens the stock, and both know how; with version 2 begins what only the new code can read.
    scene.require(first == dict.fromkeys(wanted, 2), f"parked is {first}, and should be {wanted} from version 2 on")
    await scene.system.stopped(OLD_WORKER)
    await scene.system.started("worker of the new code", _of(source, scene, "worker", variables))
    retried = await asyncio.to_thread(scene.system.kontor, "parked", "retry", variables=variables, cwd=source)
    scene.require(retried.returncode == 0, f"kontor parked retry: {retried.stdout[-500:]} {retried.stderr[-500:]}")

    async def verified(_: Kontor) -> Verdict:
        found = await asyncio.to_thread(scene.system.kontor, "verify", "--json", variables=variables, cwd=source)
        told: dict[str, Any] = json.loads(found.stdout)
        return Verdict(compared=told["compared"], findings=[Finding(**each) for each in told["findings"]])

    scene.verify = verified


async def _parked(kontor: Kontor) -> list[ParkedEvent]:
    return await ParkedEvents(kontor.pool).all(follower="stock_v1")


def _new_source(scene: Scene) -> Path:
    source = scene.system.home.path / "new-code"
    shutil.rmtree(source, ignore_errors=True)
    # Found before the installed one, because it stands in the working directory; all other packages are as they are.
    shutil.copytree(ROOT / "domain", source / "domain", ignore=shutil.ignore_patterns("__pycache__"))
    changed = source / "domain" / "inventory.py"
    text = changed.read_text()
    for old, new in CHANGES:
        assert text.count(old) == 1, f"the source has changed: adapt this change to it: {old}"
        text = text.replace(old, new)
    changed.write_text(text)
    return source


def _of(source: Path, scene: Scene, program: str, variables: dict[str, str]) -> Spec:
    return replace(scene.system.program(program, variables, called=f"{program} of the new code"), cwd=source)
