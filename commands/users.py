"""Accounts: register, sign in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from commands.handling import Result, Work
from domain.errors import AlreadyExists, BadCredentials, Forbidden, Invalid, WeakPassword
from domain.identity import UserId, email_claim_id
from domain.text import plain_text
from domain.users import EmailClaim, Role, User

EMAIL_LENGTH_MAX: Final = 254
NAME_LENGTH_MAX: Final = 200
# Upper bound: argon2 would take any length, bcrypt fails above 72 bytes; NIST SP 800-63B asks for at least 64.
PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_BYTES_MAX: Final = 72
# The shape every deliverable address has; whether it exists, only a mail to it can tell.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser:
    """Open an account. `password` None (our own processes only): nobody can sign in until one is set."""

    email: str
    name: str
    password: str | None
    roles: tuple[Role, ...] = (Role.CUSTOMER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Open a session."""

    email: str
    password: str
    user_agent: str = ""


async def register_user(command: RegisterUser, work: Work) -> Result:
    """Raises AlreadyExists for a taken address, Invalid, WeakPassword, Forbidden for other roles than CUSTOMER."""
    if not work.actor.is_system and (command.roles != (Role.CUSTOMER,) or command.password is None):
        raise Forbidden("A new account is a CUSTOMER with a password; other roles are granted afterwards.")
    email = normal_email(command.email)
    name = plain_text(command.name, field="name", length_max=NAME_LENGTH_MAX)
    if command.password is not None:
        require_strong(command.password, email=email)
    claim_id = email_claim_id(work.ports.personal_data.digest(email))
    if await work.load(EmailClaim, claim_id):
        raise AlreadyExists("An account with this e-mail address exists; sign in instead.", field=("email",))
    user_id = UserId(work.ports.ids.new())
    # Key and password hash are rows of their own, written first: should the process die before the save,
    # they belong to nobody and open nothing.
    sealed_email, sealed_name = await work.ports.personal_data.seal(user_id, email, name)
    if command.password is not None:
        await work.ports.credentials.set(user_id, command.password)
    work.add(EmailClaim.claim(claim_id=claim_id, user_id=user_id, now=work.now))
    user = User.register(
        user_id=user_id, sealed_email=sealed_email, sealed_name=sealed_name, roles=command.roles, now=work.now
    )
    return Result(work.add(user))


async def sign_in(command: SignIn, work: Work) -> Result:
    """Raises BadCredentials, after recording it for an account that exists; takes equally long either way."""
    email = command.email.strip().lower()
    claim = await work.load(EmailClaim, email_claim_id(work.ports.personal_data.digest(email)))
    good = await work.ports.credentials.verify(claim.user_id if claim else None, command.password)
    user = await work.load(User, claim.user_id) if claim else None
    refusal = BadCredentials("E-mail address and password do not belong together; check both, or register.")
    if user is None:
        raise refusal
    if not good:
        user.refuse_sign_in(reason="wrong password", now=work.now)
        return Result(user, refusal=refusal)
    session_id, refresh_token = await work.ports.sessions.open(user.id, user_agent=command.user_agent, now=work.now)
    user.sign_in(session_id=session_id, user_agent=command.user_agent, now=work.now)
    return Result(user, secret={"session_id": str(session_id), "refresh_token": refresh_token})


def normal_email(email: str) -> str:
    """The address in the one form under which it is unique: trimmed and lower-cased."""
    email = plain_text(email, field="email", length_max=EMAIL_LENGTH_MAX).lower()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address like name@example.com.", field=("email",))
    return email


def require_strong(password: str, *, email: str) -> None:
    """Raises WeakPassword outside 10 characters to 72 bytes, or when it is the address."""
    if len(password) < PASSWORD_LENGTH_MIN or len(password.encode()) > PASSWORD_BYTES_MAX:
        raise WeakPassword(
            f"The password has {len(password)} characters; give {PASSWORD_LENGTH_MIN} or more, up to "
            f"{PASSWORD_BYTES_MAX} bytes.",
            field=("password",),
        )
    if password.lower() == email:
        raise WeakPassword("The password is the e-mail address; choose another.", field=("password",))
