"""What one request carries: who asks, how fresh the answer must be, and its loaders.

A loader reads Redis first, then Postgres, and puts back what Redis lacked. It lives as long as the request, so
nothing is ever served from an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

import strawberry
from starlette.requests import HTTPConnection
from strawberry.fastapi import BaseContext

from adapters.deliveries_ledger import Delivery
from adapters.effects_ledger import State
from adapters.personal_data import KEYS_TABLE
from adapters.redis_views import REFILL_S
from adapters.response_cache import MadeOf
from adapters.security_log import asked_from, tell
from adapters.void_tokens import Claims, TokensUnchecked
from adapters.wiring import Kontor
from api.answer_headers import correlation_of
from api.cached_answers import Asked
from api.client_address import UNKNOWN, client_address, networks
from api.graphql.allowance import Allowance
from api.graphql.consistency import Freshness
from api.graphql.gate import OPEN, Gate
from api.graphql.loading import Loader
from api.security import caller_of, from_address
from commands.handling import ANONYMOUS, Actor
from commands.security_events import SecurityEvent
from domain.disclosure import PersonalField
from domain.errors import Invalid, NotFound, Unauthenticated
from domain.users import User
from projections.catalogue import CATALOGUE, ProductRow
from projections.categories import CATEGORIES, CategoryRow
from projections.inventory import STOCK, StockRow
from projections.orders import ORDERS, OrderRow
from projections.payments import PAYMENTS, PaymentRow
from projections.users import USERS, UserRow
from projections.view import Row, View

R = TypeVar("R", bound=Row)


class RequestContext(BaseContext):
    """`refusal` is why the request as a whole is not served: it is raised before any operation runs. Without an
    `allowance`, which every request over HTTP has, nothing is counted."""

    def __init__(
        self,
        kontor: Kontor,
        *,
        actor: Actor,
        freshness: Freshness,
        idempotency_key: str | None = None,
        user_agent: str = "",
        address: str = UNKNOWN,
        session_id: UUID | None = None,
        allowance: Allowance | None = None,
        correlation_id: UUID | None = None,
        refusal: Exception | None = None,
        gate: Gate = OPEN,
    ) -> None:
        super().__init__()
        self.kontor = kontor
        self.actor = actor
        self.freshness = freshness
        self.idempotency_key = idempotency_key
        self.user_agent = user_agent
        self.address = address
        self.session_id = session_id
        self.refusal = refusal
        self.gate = gate
        self.correlation_id = correlation_id
        self.allowance = allowance
        self.charge: object = None  # what the operation was charged with, or why it was not; see `api.graphql.limits`
        self.charged_more = 0  # points on the way, see `api.graphql.charging`; `left` of the bucket after them
        self.left = 0
        self.folded = 0  # events of the past
        self.asked: Asked | None = None  # may the answer be kept?
        self.made_of: MadeOf | None = None  # notes what is read, of rows alone; see `tried`
        self.may_be_kept: MadeOf | None = None  # the answer, and what it was made from
        self.over_socket = False
        self.claims: Claims | None = None  # of the token with which a WebSocket was opened
        self.renew()

    def renew(self) -> None:
        """New loaders, which have seen nothing: a WebSocket's context lives on, and what it shows must not grow old."""
        self.products: Loader[UUID, ProductRow] = self._loader(CATALOGUE)
        self.categories: Loader[UUID, CategoryRow] = self._loader(CATEGORIES)
        self.stock: Loader[UUID, StockRow] = self._loader(STOCK)
        self.orders: Loader[UUID, OrderRow] = self._loader(ORDERS)
        self.payments: Loader[UUID, PaymentRow] = self._loader(PAYMENTS)
        self.users: Loader[UUID, UserRow] = self._loader(USERS)
        self.accounts: Loader[UUID, User] = Loader(self._accounts)
        self._deliveries: dict[tuple[int, tuple[State, ...]], Loader[UUID, list[Delivery]]] = {}
        self.opened: Loader[tuple[UUID, PersonalField, str], str | None] = Loader(self._open)

    def tried(self) -> RequestContext:
        """A context of the same request, to answer with or to throw away: what it loads and notes stays with it.

        Where the answer may be kept, it reads rows and no copies: these follow the news that a row has changed."""
        made_of = MadeOf() if self.asked else None
        kontor = self.kontor if made_of is None else replace(self.kontor, reads=self.kontor.reads.noting(made_of))
        tried = RequestContext(kontor, actor=self.actor, freshness=self.freshness.tried(), address=self.address)
        tried.made_of = made_of
        tried.charge = self.charge
        return tried

    def may_see_of(self, user_id: UUID) -> bool:
        """May the actor see what belongs to this user?"""
        return self.actor.is_staff or self.actor.user_id == user_id

    async def rows(self, view: View[R], ids: Sequence[UUID]) -> dict[UUID, R]:
        """Those rows that exist, as fresh as the request asks."""
        await self.freshness.settle(view)
        if self.made_of is not None:
            return await self.kontor.reads.by_id(view, ids)
        view = self.kontor.reads.generations.live(view)
        copies = await self.kontor.copies.read(view, ids)
        # A copy is written after its row: the one of what the reader wrote may still be on its way.
        found = {row_id: row for row_id, row in copies.items() if row.version >= self.freshness.version_of(row_id)}
        missing = [row_id for row_id in ids if row_id not in found]
        if missing:
            incarnation = self.kontor.copies.incarnation
            stored = await self.kontor.reads.by_id(view, missing)
            await self.kontor.copies.copy(view, list(stored.values()), incarnation=incarnation, ttl_s=REFILL_S)
            found |= stored
        return found

    def deliveries_of(self, limit: int, states: tuple[State, ...]) -> Loader[UUID, list[Delivery]]:
        """Of endpoints: so many of their deliveries in these states, the newest first."""
        read = partial(self.kontor.deliveries.newest, states=states, limit=limit)
        return self._deliveries.setdefault((limit, states), Loader(read))

    def _loader(self, view: View[R]) -> Loader[UUID, R]:
        return Loader(partial(self.rows, view))

    async def _accounts(self, ids: Sequence[UUID]) -> dict[UUID, User]:
        """Those that exist, as the log has them."""
        loaded = await self.kontor.store.load(list(ids))
        return {user_id: user for user_id, (user, _) in loaded.items() if isinstance(user, User)}

    async def _open(
        self, tokens: list[tuple[UUID, PersonalField, str]]
    ) -> dict[tuple[UUID, PersonalField, str], str | None]:
        if self.actor.is_staff and (read := sorted({str(each) for each, _, _ in tokens} - {str(self.actor.user_id)})):
            tell(SecurityEvent.PERSON_READ, who=self.actor.name, what="names and addresses", subjects=read)
        if self.made_of is not None:
            self.made_of.rows(KEYS_TABLE, [person_id for person_id, _, _ in tokens])
        return dict(zip(tokens, await self.kontor.personal_data.open(tokens), strict=True))


Info = strawberry.Info[RequestContext, None]


async def request_context(connection: HTTPConnection) -> RequestContext:
    """The context of one HTTP request; what is wrong with its headers is told by the operation."""
    kontor: Kontor = connection.app.state.kontor
    headers = connection.headers
    refusal: Exception | None = None
    actor, session_id, freshness = ANONYMOUS, None, Freshness(kontor.positions, kontor.reads)
    address = client_address(connection, networks(kontor.settings.trusted_proxies))
    asked_from(address)
    try:
        actor, session_id, _ = await caller_of(headers.get("authorization"), kontor)
        asked_from(address, session_id)
        freshness = Freshness.asked_by(headers, kontor.positions, kontor.reads)
    except (Unauthenticated, Invalid, TokensUnchecked) as error:
        refusal = error
    context = RequestContext(
        kontor,
        actor=from_address(actor, address),
        freshness=freshness,
        idempotency_key=headers.get("idempotency-key"),
        user_agent=headers.get("user-agent", ""),
        address=address,
        session_id=session_id,
        allowance=Allowance.of(kontor, actor, address),
        correlation_id=correlation_of(connection),
        refusal=refusal,
        gate=connection.app.state.gate,
    )
    context.asked = connection.scope.get("state", {}).get("asked")
    return context


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
