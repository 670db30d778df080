"""The account of whoever asks, and the proof that it is they: a stolen access token is not the account.

What changes the way in (password, address, second factor) or ends the account needs the present password in the same
request, and a code where the account has a second factor.
"""

from __future__ import annotations

from uuid import UUID

from commands.handling import Work
from domain.disclosure import Secret
from domain.errors import (
    BadCredentials,
    Forbidden,
    IllegalTransition,
    MfaInvalid,
    MfaRequired,
    NotFound,
    ReauthenticationRequired,
)
from domain.users import User


async def account(user_id: UUID, work: Work) -> User:
    """Raises NotFound."""
    user = await work.load(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}.", field=("userId",))
    return user


async def own_account(work: Work) -> User:
    """The actor's. Raises Forbidden for an actor without one, IllegalTransition for an erased one."""
    if work.actor.user_id is None:
        raise Forbidden("This is about one's own account, and this actor has none.")
    user = await account(work.actor.user_id, work)
    if user.erased:
        raise IllegalTransition(f"The account {user.id} is ERASED; nothing can be done with it any more.")
    return user


async def proven_account(
    password: Secret | None,
    mfa_code: Secret | None,
    work: Work,
    *,
    fields: tuple[str, str] = ("currentPassword", "mfaCode"),
) -> User:
    """The actor's account, whose present password and second factor were sent in these fields. Both are verified once,
    however often the command decides.

    Raises ReauthenticationRequired without a password, BadCredentials, MfaRequired, MfaInvalid, and what `own_account`
    raises."""
    user_id, credentials = work.actor.user_id, work.ports.credentials
    if user_id is None:
        await own_account(work)
    if password is None:
        raise ReauthenticationRequired(
            f"This needs the present password: send it as {fields[0]} with the request.", field=(fields[0],)
        )
    # In this order: that the account has not changed since it was loaded is judged by the log.
    proof = await work.once("proof", lambda: credentials.verify(user_id, password))
    user = await own_account(work)
    if proof is None or not await credentials.still_good(proof):
        raise BadCredentials("The present password is another one.", field=(fields[0],))
    if user.mfa_enabled and mfa_code is None:
        raise MfaRequired(f"This account needs a code: send it as {fields[1]}.", field=(fields[1],))
    if user.mfa_enabled and not await taken_once(user.id, mfa_code or Secret(""), work):
        raise wrong_code(fields[1])
    return user


async def taken_once(user_id: UUID, code: Secret, work: Work) -> bool:
    """Is the second-factor code good? It is taken in the first attempt, and counts in the others."""
    mfa = work.ports.mfa
    return await work.once(f"code of {user_id}", lambda: mfa.take(user_id, code, now=work.now))


def wrong_code(field: str) -> MfaInvalid:
    """The refusal of a second-factor code that was sent in this field."""
    return MfaInvalid("The code is wrong, or was used before; send the one that is shown now.", field=(field,))
