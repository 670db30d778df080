"""Demo data: people to sign in as, and a small catalogue with stock. Through the commands, like any client's."""

from __future__ import annotations

import contextlib
from typing import Final

import uvloop

from adapters.wiring import Kontor, open_kontor
from cli.installation import load_settings
from cli.log_output import log_to_stderr
from cli.logins import DEMO_LOGINS
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock
from commands.users import RegisterUser
from domain.disclosure import Secret
from domain.errors import AlreadyExists
from domain.money import Money
from domain.users import Role

ACTOR: Final = Actor.system("demo")
PRODUCTS: Final = (
    ("TEA-EARL-GREY", "Earl Grey, 100 g", "6.50"),
    ("TEA-ASSAM", "Assam, 100 g", "5.90"),
    ("TEAPOT-GLASS", "Glass teapot, 1 l", "34.00"),
    ("CUP-WHITE", "White cup", "7.25"),
    ("TIN-LARGE", "Tin, large", "9.80"),
    ("HONEY-HEATHER", "Heather honey, 250 g", "8.40"),
)
UNITS: Final = 100


def demo() -> None:
    """Load demo logins, products and stock; safe to repeat. Refuses in production."""
    settings = load_settings("demo")
    log_to_stderr("demo")
    if settings.environment == "production":
        raise SystemExit("Demo logins have public passwords: they are not loaded where KONTOR_ENVIRONMENT=production.")

    async def load() -> None:
        async with open_kontor(settings, name="demo") as kontor:
            await load_demo(kontor)

    uvloop.run(load())


async def load_demo(kontor: Kontor) -> None:
    """Each step is skipped where its result is there already."""
    for login in DEMO_LOGINS.values():
        request = RegisterUser(
            email=login.email,
            name=login.name,
            password=Secret(login.password),
            roles=tuple(Role(role) for role in login.roles),
        )
        try:
            await kontor.pipeline.execute(request, actor=ACTOR)
        except AlreadyExists:
            continue
    for sku, name, price in PRODUCTS:
        with contextlib.suppress(AlreadyExists):
            await kontor.pipeline.execute(AddProduct(sku=sku, name=name, price=Money.of(price, "GBP")), actor=ACTOR)
        await kontor.pipeline.execute(
            ReceiveStock(sku=sku, quantity=UNITS, reference="demo"), actor=ACTOR, idempotency_key=f"demo:{sku}"
        )
