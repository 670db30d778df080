"""`POST /v1/commands/{name}`: every public command, through the same pipeline as GraphQL's mutations.

The routes, their documentation and their schemas come from `commands.COMMANDS`: a command that is listed is served.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from math import ceil
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from adapters.access_tokens import ACCESS_TOKEN_S
from adapters.consistency import Token
from adapters.security_log import asked_from
from adapters.void_tokens import TokensUnchecked
from adapters.wiring import Kontor
from api.answer_headers import correlation_of
from api.client_address import client_address, networks
from api.graphql.allowance import Allowance
from api.graphql.cost import MUTATION
from api.graphql.limits import tell_points_limited, time_limit
from api.internal_port import internal_only
from api.rest import problems
from api.rest.forms import PUBLIC, command_of, form_of, json_schema
from api.rest.strict_bodies import StrictRoute
from api.security import access_token_for, caller_of, from_address
from api.throttling import throttled
from commands.handling import ANONYMOUS, Actor, Command, Outcome
from commands.sessions import SignIn
from domain.errors import NotFound, Unauthenticated
from domain.users import User

PATH = "/v1/commands"
INTERNAL: Final = [Depends(internal_only)]  # what there is tells who attacks where to begin
LOOK = 1  # points of what is no command: the table of contents, a schema


class Counted(StrictRoute):
    """Takes the points of a request before anything of it is looked at, whether it fits its schema or not."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See the base class. Raises CostLimitReached."""
        handle = super().get_route_handler()

        async def counted(request: Request) -> Response:
            kontor: Kontor = request.app.state.kontor
            address = client_address(request, networks(kontor.settings.trusted_proxies))
            asked_from(address)
            actor = ANONYMOUS
            try:
                request.state.caller = await caller_of(request.headers.get("authorization"), kontor)
                actor = request.state.caller.actor
                asked_from(address, request.state.caller.session_id)
            except (Unauthenticated, TokensUnchecked) as error:
                request.state.caller = error
            points = MUTATION if request.method == "POST" else LOOK
            await _charged(Allowance.of(kontor, actor, address), points, actor, what=_what(self.name))
            return await handle(request)

        return counted


router = APIRouter(prefix=PATH, tags=["commands"], route_class=Counted)


class Receipt(BaseModel):
    """Proof that a command was stored, and the means to read its effect."""

    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True, validate_by_name=True)

    command_id: str = Field(description="The stored command.")
    aggregate_id: str = Field(description="What the command was about.")
    version: int = Field(description="Its version after the command.")
    replayed: bool = Field(description="True when this key had been used before: nothing was done again.")
    token: str = Field(description="Send it as `Kontor-Consistent-With` to read what was written.")
    secret: dict[str, Any] | None = Field(description="What is told once and never stored, such as tokens.", repr=False)


class Listed(BaseModel):
    """One line of the table of contents."""

    name: str = Field(description="As in the URL.")
    description: str = Field(description="What it does.")
    permission: str = Field(description="Who may use it.")


@router.get("", summary="Every command", dependencies=INTERNAL)
async def listed() -> list[Listed]:
    """The table of contents."""
    return [Listed(name=name, description=summary(command), permission=_permission(command))
            for name, command in PUBLIC.items()]  # fmt: skip


@router.get("/{name}", summary="The JSON Schema of a command's input", dependencies=INTERNAL)
async def schema(name: str) -> dict[str, Any]:
    """JSON Schema 2020-12. Raises NotFound."""
    if name not in PUBLIC:
        raise NotFound(f"There is no command {name}; GET {PATH} lists them all.")
    return json_schema(PUBLIC[name])


def receipt_of(kontor: Kontor, request: Any, outcome: Outcome) -> Receipt:
    """What the caller is told."""
    secret = dict(outcome.secret)
    if isinstance(request, SignIn) and isinstance(outcome.aggregate, User):
        secret["access_token"] = access_token_for(outcome.aggregate, UUID(secret["session_id"]), kontor)
        secret["expires_in"] = str(ACCESS_TOKEN_S)
    return Receipt(
        command_id=str(outcome.command_id),
        aggregate_id=str(outcome.aggregate_id),
        version=outcome.version,
        replayed=outcome.replayed,
        token=Token(outcome.heads).encoded(),
        secret=secret or None,
    )


def _endpoint(command: Command) -> Callable[..., Coroutine[Any, Any, Receipt]]:
    async def execute(
        request: Request,
        response: Response,
        body: Any,
        authorization: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(description="Makes repeating safe.")] = None,
    ) -> Receipt:
        del authorization  # it is declared for the documentation; `Counted` has read it
        kontor: Kontor = request.app.state.kontor
        address = client_address(request, networks(kontor.settings.trusted_proxies))
        if isinstance(request.state.caller, Exception):
            raise request.state.caller
        actor = from_address(request.state.caller.actor, address)
        wanted = command_of(command.request, body)
        allowance = Allowance.of(kontor, actor, address)
        async with time_limit(allowance), throttled(kontor, wanted, actor=actor, address=address):
            outcome = await kontor.pipeline.execute(
                wanted, actor=actor, idempotency_key=idempotency_key, correlation_id=correlation_of(request)
            )
        if outcome.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return receipt_of(kontor, wanted, outcome)

    execute.__annotations__["body"] = form_of(command.request)
    execute.__doc__ = f"{summary(command)} Who: {_permission(command)}."
    return execute


async def _charged(allowance: Allowance, points: int, actor: Actor, *, what: str) -> None:
    """Takes the points, from the bucket of GraphQL's operations. Raises CostLimitReached."""
    taken = await allowance.take(points)
    if not taken.granted:
        tell_points_limited(actor, what)
        wait_s = taken.wait_s
        raise problems.CostLimitReached(
            f"This costs {points} points and {taken.left} are left; send it again in {ceil(wait_s)} s.",
            retry_after_s=wait_s,
        )


def _what(route: str) -> str:
    """What the security log calls it: a command as everywhere else."""
    return PUBLIC[route].name if route in PUBLIC else "commands"


def summary(command: Command) -> str:
    described = form_of(command.request).__doc__ or command.handler.__doc__ or ""
    return " ".join(described.split("\n\n")[0].split())


def _permission(command: Command) -> str:
    return getattr(command.permission, "__name__", "").replace("_", " ")


for _name, _command in PUBLIC.items():
    router.add_api_route(
        f"/{_name}",
        _endpoint(_command),
        methods=["POST"],
        summary=_command.name,
        name=_name,
        response_model=Receipt,
        responses=problems.RESPONSES,
    )
