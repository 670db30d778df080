"""The composition root: settings in, a working Kontor out. Processes and tests call it with other settings."""

from __future__ import annotations

import asyncio
import base64
import hmac
import select
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from redis.asyncio import Redis
from uuid_utils.compat import uuid7

from adapters import redis_views
from adapters.access_tokens import AccessTokens, decoded_seeds
from adapters.account_tokens import AccountTokenTable
from adapters.away import NOTICES_LOSS
from adapters.consistency import ViewPositions
from adapters.cost_buckets import CostBuckets
from adapters.deliveries_ledger import DeliveriesLedger
from adapters.effects_ledger import EffectsLedger
from adapters.endpoint_tests import EndpointTests
from adapters.event_store import PostgresEventStore
from adapters.follower_store import PostgresFollowerStore
from adapters.hash_chain import HashChain
from adapters.joint_transactions import JointTransactions
from adapters.log import EventLog
from adapters.log_tail import LogTail
from adapters.mailboxes import Mailboxes
from adapters.mailer import SmtpMailer
from adapters.master_keys import MasterKeys
from adapters.metrics import PrometheusMeter
from adapters.mfa import MfaTable
from adapters.password_scheme import password_scheme
from adapters.passwords import PasswordTable
from adapters.past_rows import PastRows
from adapters.payment_gateway import StripeGateway
from adapters.personal_data import PersonalDataBox
from adapters.prepared_connection import PreparedConnections
from adapters.rate_limits import RateLimits
from adapters.read_store import ReadStore
from adapters.record_signatures import RecordSignatures
from adapters.redis_views import RedisViews
from adapters.response_cache import ResponseCache
from adapters.security_log import StructuredSecurityLog
from adapters.sessions import SessionTable
from adapters.settings import Settings, listed
from adapters.smtp_url import smtp_server
from adapters.table_grants import PARTS
from adapters.void_token_reader import VoidTokenReader
from adapters.void_tokens import VoidTokens
from adapters.webhook_consents import EndpointConsents
from adapters.webhook_posting import WebhookPoster
from adapters.webhook_secrets import WebhookSecretTable
from commands import COMMANDS
from commands.handling import Pipeline
from commands.ports import Mailer, PaymentGateway, Ports

log = structlog.get_logger()

POOL_CONNECTIONS_MAX: Final = 12
POOL_WAITING_MAX: Final = 2_000
# Attempts to replace a connection come ever more rarely, and after a long outage the next one would be as long away as
# the outage was. Given up early, they begin anew with whoever next asks for a connection.
POOL_RECONNECT_S_MAX: Final = 3.0
REACH_S_MAX: Final = 30.0
ASK_S: Final = 1.0


class SystemClock:
    """See `commands.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class UuidV7:
    """See `commands.ports.Ids`."""

    def new(self) -> UUID:
        return uuid7()


class OrderNumberSequence:
    """See `commands.ports.OrderNumbers`."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def next(self) -> str:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT nextval('order_numbers')")).fetchone()
        assert row is not None
        return f"K{row[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kontor:
    """Everything a process may need, wired. `gateway` is None where no payment provider is configured."""

    settings: Settings
    pool: AsyncConnectionPool[Any]
    redis: Redis
    store: PostgresEventStore
    log: EventLog
    hash_chain: HashChain
    past_rows: PastRows
    tail: LogTail
    followers: PostgresFollowerStore
    effects: EffectsLedger
    deliveries: DeliveriesLedger
    poster: WebhookPoster
    consents: EndpointConsents
    pipeline: Pipeline
    ports: Ports
    reads: ReadStore
    copies: RedisViews
    cost_buckets: CostBuckets
    positions: ViewPositions
    responses: ResponseCache
    personal_data: PersonalDataBox
    signatures: RecordSignatures
    sessions: SessionTable
    access_tokens: AccessTokens
    void_tokens: VoidTokens
    void_token_reader: VoidTokenReader  # to be started by whoever verifies access tokens
    rate_limits: RateLimits
    gateway: PaymentGateway | None
    mailboxes: Mailboxes
    mailer: Mailer | None  # None: no mail is configured


def mailer_of(settings: Settings) -> Mailer | None:
    """What hands mails over, or None where no mail server is named. Raises ValueError, OSError for the CA file."""
    url = settings.smtp_url.get_secret_value()
    if not url:
        return None
    return SmtpMailer(smtp_server(url), sender=settings.mail_from, ca_file=settings.smtp_ca_file)


async def still_open(connection: AsyncConnection[Any]) -> None:
    """Raises OperationalError for a pooled connection that the server has closed meanwhile.

    An idle connection has nothing to read but its end, so a look at the socket tells, without the round trip
    the pool's own check would put before every query."""
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    if look.poll(0):
        # Until it is closed here, it counts as good: the pool would take it back and hand it out for ever.
        await connection.close()
        raise OperationalError("the server has closed this connection")


def _pool_of(settings: Settings, name: str) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(
        settings.postgres_url,
        min_size=2,
        max_size=POOL_CONNECTIONS_MAX,
        max_waiting=POOL_WAITING_MAX,
        timeout=10,
        reconnect_timeout=POOL_RECONNECT_S_MAX,
        kwargs={"autocommit": True, "application_name": f"kontor.{name}", **NOTICES_LOSS},
        check=still_open,
        open=False,
    )


async def _reached(pool: AsyncConnectionPool[Any]) -> None:
    """Returns when there is a connection. To wait for the pool alone is not enough: it soon gives up trying, until
    somebody asks. Raises PoolTimeout after REACH_S_MAX."""
    give_up_at = asyncio.get_running_loop().time() + REACH_S_MAX
    while True:
        try:
            async with pool.connection(timeout=ASK_S):
                return
        except PoolTimeout:
            if asyncio.get_running_loop().time() > give_up_at:
                raise


async def _warn_of_an_owner(pool: AsyncConnectionPool[Any], part: str) -> None:
    """A part of Kontor that may change what was recorded has a role that is not its own."""
    async with pool.connection() as connection:
        ((may,),) = await (await connection.execute("SELECT has_table_privilege('events', 'UPDATE')")).fetchall()
    if may:
        variable = f"KONTOR_POSTGRES_{part.upper()}_URL"
        hint = f"name a role in {variable} for `kontor migrate`, and give this process that URL as KONTOR_POSTGRES_URL"
        log.warning("database_role_may_change_the_log", part=part, hint=hint)


def record_signatures(settings: Settings) -> RecordSignatures:
    """With the record keys of the settings, or, where there are none, with keys derived from the master keys."""
    named = settings.record_key.get_secret_value()
    if named:
        keys = [base64.b64decode(key) for key in (named, *listed(settings.previous_record_keys.get_secret_value()))]
    else:
        masters = (settings.master_key.get_secret_value(), *listed(settings.previous_master_keys.get_secret_value()))
        keys = [hmac.digest(base64.b64decode(key), b"record key", "sha256") for key in masters]
    return RecordSignatures(keys, settings.topic_prefix)


def _access_tokens(settings: Settings, void: VoidTokens) -> AccessTokens:
    seeds = decoded_seeds(settings.jwt_key.get_secret_value(), settings.other_jwt_keys.get_secret_value())
    return AccessTokens(*seeds, void=void)


def _cost_buckets(settings: Settings, redis: Redis) -> CostBuckets:
    return CostBuckets(
        redis,
        prefix=f"{settings.topic_prefix}cost:",
        most=settings.cost_burst,
        rate=settings.cost_restore_per_s,
    )


def _consents(settings: Settings, pool: AsyncConnectionPool[Any], poster: WebhookPoster) -> EndpointConsents:
    origin = urlsplit(settings.public_url).hostname or ""
    return EndpointConsents(pool, poster, origin=origin, required=settings.webhook_consent_required)


def _sessions(settings: Settings, pool: AsyncConnectionPool[Any]) -> SessionTable:
    idle, longest = timedelta(days=settings.session_idle_days), timedelta(days=settings.session_max_days)
    return SessionTable(pool, idle=idle, longest=longest)


def _webhook_tests(
    settings: Settings, pool: AsyncConnectionPool[Any], poster: WebhookPoster, consents: EndpointConsents
) -> EndpointTests:
    secrets = WebhookSecretTable(pool, MasterKeys(master_keys_of(settings)))
    return EndpointTests(poster, secrets, consents, says_why=settings.webhook_private_addresses)


def _payment_provider(settings: Settings) -> str | None:
    """Who is asked for the money of orders. A process that only hears of payments has no key, but its secret."""
    known = settings.stripe_key.get_secret_value() or settings.stripe_webhook_secret.get_secret_value()
    return StripeGateway.name if known else None


def _ports(
    settings: Settings,
    pool: AsyncConnectionPool[Any],
    store: PostgresEventStore,
    personal_data: PersonalDataBox,
    sessions: SessionTable,
    void_tokens: VoidTokens,
    ledger: EffectsLedger,
    webhook_tests: EndpointTests,
) -> Ports:
    return Ports(
        store=store,
        personal_data=personal_data,
        credentials=PasswordTable(pool, password_scheme(settings.password_hashing)),
        sessions=sessions,
        void_tokens=void_tokens,
        mfa=MfaTable(pool, personal_data),
        webhook_secrets=webhook_tests.secrets,
        webhook_tests=webhook_tests,
        account_tokens=AccountTokenTable(pool),
        effects=ledger,
        order_numbers=OrderNumberSequence(pool),
        clock=SystemClock(),
        ids=UuidV7(),
        meter=PrometheusMeter(),
        factor_required=settings.roles_that_need_a_factor,
        payment_provider=_payment_provider(settings),
        digest_key=personal_data.request_digest_key,
        security=StructuredSecurityLog(),
        shop_host=urlsplit(settings.public_url).hostname or "",
    )


def master_keys_of(settings: Settings) -> list[bytes]:
    """The present one first."""
    previous = filter(None, settings.previous_master_keys.get_secret_value().split(","))
    return [base64.b64decode(key) for key in (settings.master_key.get_secret_value(), *previous)]


async def _gateway(settings: Settings, opened: AsyncExitStack) -> StripeGateway | None:
    """The payment provider; None where none is configured."""
    key = settings.stripe_key.get_secret_value()
    return await opened.enter_async_context(StripeGateway(settings.stripe_url, key)) if key else None


@asynccontextmanager
async def open_kontor(settings: Settings, *, name: str) -> AsyncIterator[Kontor]:
    """Connect, run, and close in order. `name` is what the database shows as application name.

    Raises psycopg_pool.PoolTimeout when Postgres cannot be reached within 30 s, WrongMasterKey; Redis may be away."""
    redis = redis_views.connect(settings.redis_url)
    async with _pool_of(settings, name) as pool:
        await _reached(pool)
        if settings.environment == "production" and name in PARTS:
            await _warn_of_an_owner(pool, name)
        event_log = EventLog(pool)
        reads = ReadStore(pool)
        ledger = EffectsLedger(pool)
        personal_data = PersonalDataBox(pool, master_keys_of(settings))
        await personal_data.prepare()
        sessions = _sessions(settings, pool)
        responses = ResponseCache(settings.response_cache_bytes)
        async with (
            PostgresEventStore(pool, settings.postgres_url) as store,
            ViewPositions(reads, settings.postgres_url, responses) as positions,
            AsyncExitStack() as opened,
        ):
            following = PreparedConnections(settings.postgres_url, name=f"kontor.{name}")
            opened.push_async_callback(following.close)
            tail = LogTail(event_log, settings.postgres_url)
            opened.push_async_callback(tail.close)
            void_tokens = VoidTokens()
            void_token_reader = VoidTokenReader(void_tokens, event_log, settings.postgres_url)
            opened.push_async_callback(void_token_reader.close)
            gateway = await _gateway(settings, opened)
            poster = await opened.enter_async_context(
                WebhookPoster(private_addresses=settings.webhook_private_addresses)
            )
            consents = _consents(settings, pool, poster)
            tests = _webhook_tests(settings, pool, poster, consents)
            ports = _ports(settings, pool, store, personal_data, sessions, void_tokens, ledger, tests)
            try:
                yield Kontor(
                    settings=settings,
                    pool=pool,
                    redis=redis,
                    store=store,
                    log=event_log,
                    hash_chain=HashChain(pool, personal_data.hash_chain_key),
                    past_rows=PastRows(pool),
                    tail=tail,
                    followers=PostgresFollowerStore(pool, event_log, JointTransactions(following)),
                    effects=ledger,
                    deliveries=DeliveriesLedger(pool, ledger),
                    poster=poster,
                    consents=consents,
                    pipeline=Pipeline(COMMANDS, ports),
                    ports=ports,
                    reads=reads,
                    copies=RedisViews(redis, prefix=f"{settings.topic_prefix}copy:"),
                    cost_buckets=_cost_buckets(settings, redis),
                    positions=positions,
                    responses=responses,
                    personal_data=personal_data,
                    signatures=record_signatures(settings),
                    sessions=sessions,
                    access_tokens=_access_tokens(settings, void_tokens),
                    void_tokens=void_tokens,
                    void_token_reader=void_token_reader,
                    rate_limits=RateLimits(redis, prefix=f"{settings.topic_prefix}rate:"),
                    gateway=gateway,
                    mailboxes=Mailboxes(pool),
                    mailer=mailer_of(settings),
                )
            finally:
                await redis.aclose()
