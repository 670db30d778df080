"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.wiring import open_kontor
from api.graphql.sockets import SocketLimits
from tests.api.following import Served, serving
from tests.conftest import Stack, installation_on


@pytest.fixture(scope="module")
async def shop(stack: Stack) -> AsyncIterator[Served]:
    """An API to subscribe to, on an installation of the module's own."""
    limits = SocketLimits(allowed_origins=("https://shop.example",), per_address_max=2_000)
    async with (
        installation_on(stack) as settings,
        open_kontor(settings, name="test") as kontor,
        serving(kontor, limits) as served,
    ):
        yield served
