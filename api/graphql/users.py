"""Accounts: who one is, registering. Names and addresses are opened only where they are asked for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import strawberry
from psycopg.sql import SQL, Composed

from api.graphql.context import Info, RequestContext, parsed_id, required_id
from api.graphql.credentials import hidden
from api.graphql.cursors import COUNT_MAX, PageInfo, decoded, page_of, page_size
from api.graphql.node import Node
from api.graphql.order_rows import orders_page
from api.graphql.order_search import OrderFilter
from api.graphql.receipts import Answer, OkPayload, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken
from commands.doors import PLAIN, Door
from commands.email_claims import normal_email
from commands.handling import anyone, signed_in, staff
from commands.mailed_links import GOOD_FOR
from commands.ports import TokenPurpose
from commands.users import EraseUser, GrantRole, RegisterUser, RevokeRole, UpdateProfile
from domain import users as domain
from domain.disclosure import PersonalField, Secret, hidden_repr
from domain.email_claims import EmailClaim
from domain.errors import Invalid
from domain.identity import UserId, email_claim_id
from domain.users import Role
from projections.users import USERS, UserRow

if TYPE_CHECKING:
    from api.graphql.orders import OrderConnection

strawberry.enum(Role, description="What an account may do.")
# Shown in place of what a destroyed key has made unreadable for ever.
ERASED: Final = "(erased)"
# Whether an address has an account is told to STAFF, at a pace at which nobody tries lists of them.
SEARCH: Final = Door(tells="search")


@strawberry.type(description="A person with an account.")
class User(Node):
    roles: list[Role] = strawberry.field(description="What the account may do.")
    created_at: datetime = strawberry.field(description="When it was opened.")
    mfa_enabled: bool = strawberry.field(description="Does signing in need a second factor?")
    version: int = strawberry.field(description="The account's version.")
    email_sealed: strawberry.Private[str]
    name_sealed: strawberry.Private[str]

    @resolver("The e-mail address.")
    async def email(self, info: Info) -> str:
        """Opened now; batched."""
        return await info.context.opened.load((UUID(self.id), PersonalField.USER_EMAIL, self.email_sealed)) or ERASED

    @resolver("The address that replaces `email` once the link that was mailed to it is followed; null without one.")
    async def pending_email(self, info: Info) -> str | None:
        """As the log has it; batched. Null when the link has expired."""
        user = await info.context.accounts.load(UUID(self.id))
        pending = None if user is None else user.pending_email
        expired_before = info.context.kontor.ports.clock.now() - GOOD_FOR[TokenPurpose.EMAIL_CHANGE]
        if pending is None or pending.requested_at <= expired_before:
            return None
        return await info.context.opened.load((UUID(self.id), PersonalField.USER_EMAIL, pending.email))

    @resolver("The name.")
    async def name(self, info: Info) -> str:
        """Opened now; batched."""
        return await info.context.opened.load((UUID(self.id), PersonalField.USER_NAME, self.name_sealed)) or ERASED

    @resolver("Since when nobody can sign in to it; null while it is not suspended.")
    async def suspended_at(self, info: Info) -> datetime | None:
        """As the log has it; batched."""
        user = await info.context.accounts.load(UUID(self.id))
        return None if user is None else user.suspended_at

    @resolver("Their orders, newest first.")
    async def orders(
        self, info: Info, first: int | None = 20, after: str | None = None
    ) -> Annotated[OrderConnection, strawberry.lazy("api.graphql.orders")]:
        """Raises Invalid for a page size outside 1 to 100, or a cursor of another list."""
        from api.graphql import orders  # noqa: PLC0415  # users and orders name each other

        where = OrderFilter(customer_id=self.id)
        return orders.order_connection(*await orders_page(info.context, where=where, first=first, after=after))

    @classmethod
    def of(cls, row: UserRow) -> User:
        """The row as it is shown."""
        return cls(
            id=strawberry.ID(str(row.id)),
            roles=list(row.roles),
            created_at=row.created_at,
            mfa_enabled=row.mfa_enabled,
            version=row.version,
            email_sealed=row.email_sealed,
            name_sealed=row.name_sealed,
        )

    @classmethod
    def of_aggregate(cls, user: domain.User) -> User:
        """The account as a command left it."""
        return cls(
            id=strawberry.ID(str(user.id)),
            roles=list(user.roles),
            created_at=user.created_on,
            mfa_enabled=user.mfa_enabled,
            version=user.version,
            email_sealed=user.email,
            name_sealed=user.name,
        )


@strawberry.type(description="An account on a page.")
class UserEdge:
    cursor: str = strawberry.field(description="Its place; pass it as `after`.")
    node: User = strawberry.field(description="The account.")


@strawberry.type(description="A page of accounts.")
class UserConnection:
    edges: list[UserEdge] = strawberry.field(description="The accounts with their cursors.")
    nodes: list[User] = strawberry.field(description="The accounts.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")
    only: strawberry.Private[list[UUID] | None]

    @resolver("How many accounts there are in all; null above 10,000.")
    async def total_count(self, info: Info) -> int | None:
        """Counted only when asked for."""
        return await info.context.kontor.reads.count(USERS, *_among(self.only), at_most=COUNT_MAX)


@strawberry.type(description="The answer about an account.")
class UserPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    user: User | None = strawberry.field(
        description="The account after it; null for `registerUser`, whose answer is the same for a taken address."
    )

    @classmethod
    def of(cls, answer: Answer) -> UserPayload:
        """The answer in the contract's shape."""
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            user=answer.shown(domain.User, User.of_aggregate),
        )


@strawberry.input(description="A new account.")
class RegisterUserInput:
    email: str = strawberry.field(description="The address. Of one that has an account already, its owner is mailed.")
    name: str = strawberry.field(description="What to call the person.")
    password: str = strawberry.field(description="10 characters to 72 bytes.")
    __repr__ = hidden_repr


async def searched(context: RequestContext, text: str) -> list[UUID]:
    """The account with this id, or this address as the log has it now; none or one. Names and addresses are sealed, so
    there is nothing else to compare with. Raises Invalid for what is neither."""
    user_id = parsed_id(text)
    if user_id is not None:
        return [user_id]
    try:
        email = normal_email(text)
    except Invalid as error:
        raise Invalid(
            "Accounts are found by their whole e-mail address or id; names and addresses are sealed and cannot be "
            "searched in part.",
            field=("search",),
        ) from error
    claim_id = email_claim_id(context.kontor.personal_data.digest(email))
    claim = (await context.kontor.store.load([claim_id])).get(claim_id, (None, None))[0]
    return [claim.user_id] if isinstance(claim, EmailClaim) and claim.user_id else []


async def user_by_id(context: RequestContext, user_id: UUID | None) -> User | None:
    """The account, unless it is not the actor's to see."""
    row = await _seen(context, user_id)
    return User.of(row) if row else None


async def me_row(context: RequestContext, *, consistent_with: ConsistencyToken | None = None) -> UserRow | None:
    """None without an account. As the log has it while the view has not seen the account yet: who has just registered
    has no token of it."""
    context.freshness.require(consistent_with)
    user_id = context.actor.user_id
    if (row := await _seen(context, user_id)) is not None or user_id is None:
        return row
    user = await context.accounts.load(user_id)
    return None if user is None else _row_of(user)


async def user_row(
    context: RequestContext, *, id: strawberry.ID, consistent_with: ConsistencyToken | None = None
) -> UserRow | None:
    """None for one that does not exist or is not the actor's to see."""
    context.freshness.require(consistent_with)
    return await _seen(context, parsed_id(id))


@strawberry.type
class UsersQuery:
    @resolver("The account that is signed in; null without one.", who=anyone, door=PLAIN)
    async def me(self, info: Info, consistent_with: ConsistencyToken | None = None) -> User | None:
        """See `me_row`."""
        row = await me_row(info.context, consistent_with=consistent_with)
        return User.of(row) if row else None

    @resolver("An account, for itself and STAFF.", who=signed_in, door=PLAIN)
    async def user(self, info: Info, id: strawberry.ID, consistent_with: ConsistencyToken | None = None) -> User | None:
        """See `user_row`."""
        row = await user_row(info.context, id=id, consistent_with=consistent_with)
        return User.of(row) if row else None

    @resolver("Accounts, the newest first; `search` is a whole e-mail address or an id. STAFF.", who=staff, door=SEARCH)
    async def users(
        self,
        info: Info,
        search: str | None = None,
        first: int | None = 20,
        after: str | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> UserConnection:
        """Raises Unauthenticated, Forbidden, or Invalid for a bad page size, cursor or search (see `searched`)."""
        context = info.context
        context.freshness.require(consistent_with)
        size, text = page_size(first), (search or "").strip()
        only = await searched(context, text) if text else None
        condition, parameters = _among(only)
        if after is not None:
            condition += SQL(" AND (created_at, id) < (%s, %s)")
            parameters += decoded(after, tuple[datetime, UUID])
        await context.freshness.settle(USERS)
        condition += SQL(" ORDER BY created_at DESC, id DESC LIMIT %s")
        rows = await context.kontor.reads.where(USERS, condition, [*parameters, size + 1])
        page = page_of(rows, [(row.created_at, row.id) for row in rows], size=size, after=after)
        nodes = [User.of(row) for row in page.rows]
        edges = [UserEdge(cursor=cursor, node=node) for cursor, node in zip(page.cursors, nodes, strict=True)]
        return UserConnection(edges=edges, nodes=nodes, page_info=page.info, only=only)


@strawberry.type
class UsersMutation:
    @resolver("Open an account; then sign in. The answer is the same whether the address has an account already.")
    async def register_user(
        self, info: Info, input: RegisterUserInput, idempotency_key: strawberry.ID | None = None
    ) -> UserPayload:
        """See `commands.users.register_user`."""
        request = RegisterUser(email=input.email, name=input.name, password=Secret(input.password))
        return UserPayload.of(await answered(info.context, lambda: request, idempotency_key))

    @resolver(
        "Change one's own name or address. Another address needs the present password, and counts once the link that "
        "is mailed to it is followed."
    )
    async def update_profile(
        self,
        info: Info,
        name: str | None = None,
        email: str | None = None,
        current_password: str | None = None,
        mfa_code: str | None = None,
        idempotency_key: strawberry.ID | None = None,
    ) -> UserPayload:
        """See `commands.users.update_profile`."""
        request = UpdateProfile(
            name=name, email=email, current_password=hidden(current_password), mfa_code=hidden(mfa_code)
        )
        return UserPayload.of(await answered(info.context, lambda: request, idempotency_key))

    @resolver("Let an account do more; for ADMIN.")
    async def grant_role(
        self, info: Info, user_id: strawberry.ID, role: Role, idempotency_key: strawberry.ID | None = None
    ) -> UserPayload:
        """See `commands.users.grant_role`."""
        return UserPayload.of(
            await answered(info.context, lambda: GrantRole(user_id=_named(user_id), role=role), idempotency_key)
        )

    @resolver("Let an account do less; for ADMIN.")
    async def revoke_role(
        self, info: Info, user_id: strawberry.ID, role: Role, idempotency_key: strawberry.ID | None = None
    ) -> UserPayload:
        """See `commands.users.revoke_role`."""
        return UserPayload.of(
            await answered(info.context, lambda: RevokeRole(user_id=_named(user_id), role=role), idempotency_key)
        )

    @resolver(
        "Make everything personal of an account unreadable, for ever; for itself and ADMIN, with the present password."
    )
    async def erase_user(
        self,
        info: Info,
        user_id: strawberry.ID,
        current_password: str | None = None,
        mfa_code: str | None = None,
        idempotency_key: strawberry.ID | None = None,
    ) -> OkPayload:
        """See `commands.users.erase_user`."""

        def request() -> EraseUser:
            shown, code = hidden(current_password), hidden(mfa_code)
            return EraseUser(user_id=_named(user_id), current_password=shown, mfa_code=code)

        return OkPayload.of(await answered(info.context, request, idempotency_key))


def _row_of(user: domain.User) -> UserRow:
    """As the view will have it."""
    return UserRow(
        id=user.id,
        email_sealed=user.email,
        name_sealed=user.name,
        roles=user.roles,
        created_at=user.created_on,
        mfa_enabled=user.mfa_enabled,
        version=user.version,
    )


async def _seen(context: RequestContext, user_id: UUID | None) -> UserRow | None:
    return await context.users.load(user_id) if user_id is not None and context.may_see_of(user_id) else None


def _among(only: list[UUID] | None) -> tuple[Composed, list[Any]]:
    return (Composed([SQL("true")]), []) if only is None else (Composed([SQL("id = ANY(%s)")]), [only])


def _named(user_id: str) -> UserId:
    """Raises NotFound."""
    return UserId(required_id(user_id, what="user", field="userId"))
