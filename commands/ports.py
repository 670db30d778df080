"""What the commands need of the world, as protocols; `adapters` has the real ones and the in-memory twins."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from eventsourcing.domain import Aggregate

from commands.security_events import SecurityLog, Silent
from domain.disclosure import PersonalField, Secret
from domain.identity import EmailClaimId
from domain.money import Money
from domain.users import Role

PendingEvent = Any  # the library's CanMutateAggregate[UUID]; its generic protocol adds nothing here


class StreamHead(NamedTuple):
    """Where a stream ends: the aggregate's version, and that event's position in the log."""

    aggregate_id: UUID
    context: str
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command that was executed: the digest of its content, its result, and how far it moved which streams."""

    command_id: UUID
    request_digest: bytes
    result: Mapping[str, Any]
    heads: tuple[StreamHead, ...]


@dataclass(slots=True, kw_only=True)  # not frozen: that makes it four times as slow to make, once per command
class Append:
    """All that one command writes; stored whole or not at all."""

    command_id: UUID
    command_name: str
    request_digest: bytes
    result: Mapping[str, Any]
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    events: Sequence[PendingEvent] = field(default_factory=tuple)
    # By aggregate and version, of events that have a cause of their own.
    causes: Mapping[tuple[UUID, int], UUID] = field(default_factory=dict)
    correlations: Mapping[UUID, UUID] = field(default_factory=dict)  # by cause, where it is not the command's own


class VersionConflict(Exception):
    """Another command moved one of the streams first; nothing of this append was stored. Load and decide again."""


class CommandRepeated(Exception):
    """A command of this id is stored already; nothing of this append was stored. Its result can be looked up."""


class Overloaded(Exception):
    """The queue of appends is full; nothing was stored. Try again after a pause."""


class EventStore(Protocol):
    """The log. Every promise holds across processes."""

    async def load(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, tuple[Aggregate, StreamHead]]:
        """The present state of those that exist, in one query."""

    def append(self, append: Append) -> Awaitable[tuple[StreamHead, ...]]:
        """Store the events and the command in one transaction; return once that is durable.

        Raises VersionConflict, CommandRepeated or Overloaded; then nothing was stored. A connection lost
        in the middle is resolved by the command id: the answer is the truth, never a guess."""

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        """The stored command of this id."""


class PersonalData(Protocol):
    """Seals what is personal with a key per person."""

    async def seal(self, person_id: UUID, *texts: tuple[PersonalField, str]) -> tuple[str, ...]:
        """Tokens that only the person's key opens, each in its field alone; makes the key on first use, which is before
        anything else of the person is stored. Raises IllegalTransition for somebody who was erased."""

    async def open(self, tokens: Iterable[tuple[UUID, PersonalField, str]]) -> list[str | None]:
        """The texts, in order; None where the person's key is gone, or the token is of another person or field."""

    def digest(self, text: str) -> str:
        """A keyed digest: equal for equal texts, and useless without the key."""

    async def destroy(self, person_id: UUID) -> None:
        """Destroy the person's key for ever; nothing personal can be sealed for them again. Safe to repeat. Nothing
        happens where the log has no erasure of the person."""


class Proof(NamedTuple):
    """That a password was verified, and the state of the account's credentials then. It is good while they are the
    same: no password or second factor was changed since, and not all sessions were ended."""

    user_id: UUID
    password_hash: str
    generation: int

    def __repr__(self) -> str:
        """Without the hash, which has no place in a log."""
        return f"Proof({self.user_id})"


class Credentials(Protocol):
    """Password hashes; not facts, so not in the log. To hash and to verify are slow."""

    async def set(self, user_id: UUID, password: Secret) -> None:
        """Store the hash of the first password of an account that nobody has yet; nothing for somebody who was
        erased."""

    async def verify(self, user_id: UUID | None, password: Secret) -> Proof | None:
        """A proof when the password is the user's; takes as long for a user that does not exist."""

    async def still_good(self, proof: Proof) -> bool:
        """Is the password still the one that was verified? Quick."""

    async def stage(self, user_id: UUID, password: Secret, *, by: UUID) -> None:
        """The hash of the password becomes the user's with the `user.password_changed` of this command, in one
        transaction, and never without. Safe to repeat."""


class Sessions(Protocol):
    """Signed-in devices; not facts, so not in the log. They end with `user.sessions_revoked`, in its transaction."""

    async def open(self, proof: Proof, *, user_agent: str, now: datetime) -> tuple[UUID, str] | None:
        """A new session: its id and its refresh token, which is stored only as a digest. None when the proof is not
        good any more, or its user was erased; that is judged in the statement that opens it."""

    async def live(self, user_id: UUID, *, now: datetime) -> set[UUID]:
        """The user's sessions that are neither ended nor expired."""


class VoidTokens(Protocol):
    """The access tokens that are void before they expire, as this process knows them."""

    def note(self, events: Iterable[PendingEvent]) -> None:
        """What these events, which are stored, take away counts in this process from now on; in the others within
        the time that they need to read the log."""


class Mfa(Protocol):
    """Second factors; not facts, so not in the log. One goes with `user.mfa_disabled`, in its transaction."""

    async def prepare(self, user_id: UUID, account: str, *, now: datetime) -> tuple[str, tuple[str, ...]]:
        """A new secret, over any earlier one that is not confirmed: its provisioning URI and its recovery codes.
        Nothing asks for its codes. Nothing is stored for somebody who was erased."""

    async def confirm(self, user_id: UUID, code: Secret, *, by: UUID, prepared_after: datetime, now: datetime) -> bool:
        """True for a code of time of a factor that was prepared after that moment: it becomes the user's with the
        `user.mfa_enabled` of this command, in one transaction, and never without."""

    async def take(self, user_id: UUID, code: Secret, *, now: datetime) -> bool:
        """True once for each code, of time or recovery, that is the user's."""


class WebhookSecrets(Protocol):
    """What signs webhook deliveries; not facts, so not in the log."""

    def make(self) -> str:
        """A new secret, good for nothing until it is kept."""

    async def keep(self, endpoint_id: UUID, secret: str, *, now: datetime) -> None:
        """This secret is the endpoint's from now on; the one before stays good for 24 hours, earlier ones do not.

        Not safe to repeat: the second time it is also the one before."""

    async def current(self, endpoint_id: UUID, *, now: datetime) -> list[str]:
        """The secrets that are good, newest first."""

    async def destroy(self, endpoint_id: UUID) -> None:
        """None is good any more. Safe to repeat."""


class WebhookTests(Protocol):
    """Posts that tell the owner of an endpoint whether it is reached."""

    async def post(self, endpoint_id: UUID, url: str, *, test_id: UUID, now: datetime) -> str:
        """Post an event that says nothing, signed as every other; why it was not taken, empty when it was."""


class TokenPurpose(StrEnum):
    """What a token of a mailed link is good for, and for nothing else."""

    EMAIL_VERIFICATION = "email_verification"
    EMAIL_CHANGE = "email_change"
    EMAIL_UNDO = "email_undo"
    PASSWORD_RESET = "password_reset"  # noqa: S105  # a name, not a secret


class AccountToken(NamedTuple):
    """Whose token it is, and the address it was mailed to, as the id of its claim."""

    user_id: UUID
    address_id: UUID


class AccountTokens(Protocol):
    """Tokens of the links in mails; not facts, so not in the log. They are stored only as digests, and go with the
    event that makes them void, in its transaction."""

    async def make(
        self, user_id: UUID, purpose: TokenPurpose, *, address_id: EmailClaimId, expires_at: datetime, now: datetime
    ) -> str:
        """A new token; earlier ones stay good, for their mails may be the ones that are read. For somebody who was
        erased nothing is stored: it is good for nothing."""

    async def find(self, token: Secret, purpose: TokenPurpose, *, by: UUID, now: datetime) -> AccountToken | None:
        """What a good token says; None for one that is unknown, of another purpose, expired, or taken by another
        command than this."""

    async def take(self, token: Secret, purpose: TokenPurpose, *, by: UUID, now: datetime) -> bool:
        """True for the one command that takes the token, however often it asks, and for no other."""


class Effects(Protocol):
    """The ledger of what is done in the world because of the log."""

    async def plan(self, *, effect: str, event_id: UUID, subject_id: UUID, now: datetime) -> None:
        """Have this effect carried out once, soon, by a worker. The second time for the same event and effect nothing
        happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message. `message_id` is stable for one effect, so that a repetition can be recognised by whoever receives
    it."""

    message_id: str
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


class MailerAway(Exception):
    """No answer, a refused connection or a 4xx reply: nobody knows whether it was taken. It may be sent again, at the
    earliest after `retry_after_s` seconds where the server says so."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MailRefused(Exception):
    """A 5xx reply to this mail: it will never be taken. The message holds nothing personal."""


class Mailer(Protocol):
    """Hands mails to a mail server."""

    async def send(self, mail: Mail) -> None:
        """Return once the server has taken it. Raises MailerAway or MailRefused."""


class OrderNumbers(Protocol):
    """Short numbers for people."""

    async def next(self) -> str:
        """A number no other order has; numbers may be skipped."""


class ProviderStatus(StrEnum):
    """What the provider says of a payment. PENDING: made, being processed, or waiting for the customer; ask again, or
    a webhook tells."""

    PENDING = "PENDING"
    AUTHORISED = "AUTHORISED"
    CAPTURED = "CAPTURED"
    DECLINED = "DECLINED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPayment:
    """A payment as the provider knows it. `reference` is the provider's id; `reason` says why it was declined."""

    reference: str
    status: ProviderStatus
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is asked of the provider. `key` is stable: the provider's idempotency keys are derived from it."""

    payment_id: UUID
    order_id: UUID
    amount: Money
    payment_method: str
    key: str


class GatewayAway(Exception):
    """No answer, a broken one, or told to come back: nobody knows whether it was done. Safe to repeat.

    `retry_after_s` is what the provider asked for, if it did."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GatewayRefused(Exception):
    """The provider will never do this: a bad request, a wrong key, a state that does not allow it. Repeating does not
    help. The message has what was seen, never a secret."""


class PaymentGateway(Protocol):
    """The payment provider. Each call is safe to repeat: with the same charge it has its effect once, and where the
    payment is already as wished it answers so, also when the provider has forgotten the key (after a day).

    Each raises GatewayAway or GatewayRefused. A decline is an answer, not an error."""

    name: str  # stored in `payment.requested`

    async def authorise(self, charge: Charge) -> ProviderPayment:
        """Hold the money, to be captured later; of a payment made before, what became of it.

        After a day the provider takes the same charge for a new one, and holds the money a second time: let no
        payment stay unauthorised so long. Nothing captures a hold whose reference was not recorded."""

    async def look_up(self, reference: str, charge: Charge | None = None) -> ProviderPayment:
        """The payment as it stands at the provider; changes nothing. Raises GatewayRefused where it is not what the
        charge asks for."""

    async def capture(self, charge: Charge, reference: str) -> ProviderPayment:
        """Take the money that is held, all of it."""

    async def cancel(self, charge: Charge, reference: str | None) -> ProviderPayment:
        """Let go of the payment. Without a reference, of whatever `authorise` made or makes later of this charge;
        DECLINED when it had been declined and there is nothing to let go of.

        Raises GatewayRefused when the money was taken: it has to be refunded."""

    async def refund(self, charge: Charge, reference: str) -> ProviderPayment:
        """Give back all that was taken. PENDING while the provider is at it."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, aware, UTC."""


class Ids(Protocol):
    def new(self) -> UUID:
        """A new UUIDv7."""


class Meter(Protocol):
    """Counts and times what the pipeline does."""

    def measured(self, command: str) -> AbstractContextManager[None]:
        """Times one execution; how it ended is told by what passes through."""

    def conflicted(self, command: str) -> None:
        """A command lost a race and decides again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world as one command sees it."""

    store: EventStore
    personal_data: PersonalData
    credentials: Credentials
    sessions: Sessions
    void_tokens: VoidTokens
    mfa: Mfa
    webhook_secrets: WebhookSecrets
    webhook_tests: WebhookTests
    account_tokens: AccountTokens
    effects: Effects
    order_numbers: OrderNumbers
    clock: Clock
    ids: Ids
    meter: Meter
    factor_required: frozenset[Role]  # the roles that count only with a second factor
    payment_provider: str | None  # the name of who is asked for the money of orders; None where nobody is
    digest_key: bytes  # keys the digest of a command's content, which may describe a person
    security: SecurityLog = field(default_factory=Silent)
    shop_host: str = ""  # of the shop's pages: a word that passwords may not be made of
