"""What one request carries: who asks, how fresh the answer must be, and its loaders.

A loader reads Redis first, then Postgres, and puts back what Redis lacked. It lives as long as the request, so
nothing is ever served from an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import strawberry
from starlette.requests import HTTPConnection
from strawberry.dataloader import DataLoader
from strawberry.fastapi import BaseContext

from adapters.redis_views import REFILL_S
from adapters.wiring import Kontor
from api.graphql.consistency import Freshness
from api.security import actor_of
from commands.handling import ANONYMOUS, Actor, signed_in
from domain.errors import Invalid, NotFound, Unauthenticated
from projections.catalogue import CATALOGUE, ProductRow
from projections.categories import CATEGORIES, CategoryRow
from projections.inventory import STOCK, StockRow
from projections.orders import ORDERS, OrderRow
from projections.users import USERS, UserRow
from projections.view import Row, View

R = TypeVar("R", bound=Row)


class RequestContext(BaseContext):
    """`refusal` is why the request as a whole is not served: it is raised before any operation runs."""

    def __init__(
        self,
        kontor: Kontor,
        *,
        actor: Actor,
        freshness: Freshness,
        idempotency_key: str | None = None,
        user_agent: str = "",
        refusal: Exception | None = None,
    ) -> None:
        super().__init__()
        self.kontor = kontor
        self.actor = actor
        self.freshness = freshness
        self.idempotency_key = idempotency_key
        self.user_agent = user_agent
        self.refusal = refusal
        self.products: DataLoader[UUID, ProductRow | None] = self._loader(CATALOGUE)
        self.categories: DataLoader[UUID, CategoryRow | None] = self._loader(CATEGORIES)
        self.stock: DataLoader[UUID, StockRow | None] = self._loader(STOCK)
        self.orders: DataLoader[UUID, OrderRow | None] = self._loader(ORDERS)
        self.users: DataLoader[UUID, UserRow | None] = self._loader(USERS)
        self.opened: DataLoader[tuple[UUID, str], str | None] = DataLoader(load_fn=self._open)

    def require_signed_in(self) -> Actor:
        """The actor. Raises Unauthenticated for an anonymous one."""
        signed_in(self.actor)
        return self.actor

    def may_see_of(self, user_id: UUID) -> bool:
        """May the actor see what belongs to this user?"""
        return self.actor.is_staff or self.actor.user_id == user_id

    async def rows(self, view: View[R], ids: Sequence[UUID]) -> dict[UUID, R]:
        """Those rows that exist, as fresh as the request asks."""
        await self.freshness.settle(view)
        view = self.kontor.reads.generations.live(view)
        copies = await self.kontor.copies.read(view, ids)
        # A copy is written after its row: the one of what the reader wrote may still be on its way.
        found = {row_id: row for row_id, row in copies.items() if row.version >= self.freshness.version_of(row_id)}
        missing = [row_id for row_id in ids if row_id not in found]
        if missing:
            stored = await self.kontor.reads.by_id(view, missing)
            await self.kontor.copies.copy(view, list(stored.values()), ttl_s=REFILL_S)
            found |= stored
        return found

    def _loader(self, view: View[Any]) -> DataLoader[UUID, Any]:
        return DataLoader(load_fn=partial(self._batch, view), max_batch_size=1_000)

    async def _batch(self, view: View[Any], ids: list[UUID]) -> list[Any]:
        found = await self.rows(view, ids)
        return [found.get(row_id) for row_id in ids]

    async def _open(self, tokens: list[tuple[UUID, str]]) -> list[str | None]:
        return await self.kontor.personal_data.open(tokens)


Info = strawberry.Info[RequestContext, None]


async def request_context(connection: HTTPConnection) -> RequestContext:
    """The context of one HTTP request; what is wrong with its headers is told by the operation."""
    kontor: Kontor = connection.app.state.kontor
    headers = connection.headers
    refusal: Exception | None = None
    actor, freshness = ANONYMOUS, Freshness(kontor.positions, kontor.reads)
    try:
        actor = actor_of(headers.get("authorization"), kontor.access_tokens)
        freshness = Freshness.asked_by(headers, kontor.positions, kontor.reads)
    except (Unauthenticated, Invalid) as error:
        refusal = error
    return RequestContext(
        kontor,
        actor=actor,
        freshness=freshness,
        idempotency_key=headers.get("idempotency-key"),
        user_agent=headers.get("user-agent", ""),
        refusal=refusal,
    )


def parsed_id(text: str | None) -> UUID | None:
    """The UUID; None for what is not one, which is as good as an id that does not exist."""
    try:
        return UUID(text) if text and len(text) == 36 else None
    except ValueError:
        return None


def required_id(text: str, *, what: str, field: str) -> UUID:
    """The UUID. Raises NotFound for what is not one: there is no such `what`."""
    found = parsed_id(text)
    if found is None:
        raise NotFound(f"There is no {what} {text}.", field=(field,))
    return found
