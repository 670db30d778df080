"""`kontor users`: what an account may do, changed from the command line; so the first ADMIN is made."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.exits import one_sentence
from cli.opened import with_kontor
from cli.stack.problem import Problem
from commands.email_claims import normal_email
from commands.handling import Actor
from commands.users import GrantRole, RevokeRole
from domain.email_claims import EmailClaim
from domain.errors import DomainError
from domain.identity import UserId, email_claim_id
from domain.users import Role, User

app = typer.Typer(no_args_is_help=True, help="What accounts may do.")

EMAIL = Annotated[str, typer.Argument(help="the account's address")]
ROLE = Annotated[Role, typer.Argument(help="what it may do", case_sensitive=False)]


@app.callback()
def users() -> None:
    """What accounts may do."""


@app.command()
@one_sentence
def grant(email: EMAIL, role: ROLE) -> None:
    """Let an account do more, from its next access token on; safe to repeat. The way to the first ADMIN."""
    _change(GrantRole, email, role)


@app.command()
@one_sentence
def revoke(email: EMAIL, role: ROLE) -> None:
    """Let an account do less, from its next access token on; safe to repeat."""
    _change(RevokeRole, email, role)


def _change(kind: type[GrantRole | RevokeRole], email: str, role: Role) -> None:
    from adapters.wiring import Kontor  # noqa: PLC0415  # imported when asked for: start-up time

    async def change(kontor: Kontor) -> User:
        claim_id = email_claim_id(kontor.personal_data.digest(normal_email(email)))
        claim = (await kontor.store.load([claim_id])).get(claim_id, (None, None))[0]
        if not isinstance(claim, EmailClaim) or claim.user_id is None:
            raise Problem(f"There is no account with the address {email}: register it first, as anybody does.")
        request = kind(user_id=UserId(claim.user_id), role=role)
        user = (await kontor.pipeline.execute(request, actor=Actor.system("users"))).aggregate
        assert isinstance(user, User)
        return user

    try:
        user = with_kontor("users", change)
    except DomainError as refusal:
        raise Problem(refusal.message) from refusal
    print(f"{user.id}: {', '.join(sorted(each.value for each in user.roles))}")
