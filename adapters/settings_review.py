"""What production refuses: secrets that are public, equal or easily guessed, and settings that give protection away.

One list, of functions from settings to findings. A finding has a name; those that are a matter of judgement can be
accepted by it (`KONTOR_ACCEPTED_RISKS=insecure-public-url,...`), a bad secret cannot. A sentence names the variable and
what to do, and tells no secret.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from adapters.loopback import is_loopback
from adapters.password_scheme import Argon2, Bcrypt, password_scheme
from adapters.plaintext import plaintext_kafka, plaintext_postgres, plaintext_redis
from adapters.secret_quality import same, too_weak, was_published
from adapters.secret_settings import SECRETS, Form, variable

if TYPE_CHECKING:
    from adapters.settings import Settings

# Of one proxy network in IPv4 and IPv6: what a provider gives its load balancers, and never a share of the internet.
PROXY_PREFIX_MIN: Final = {4: 16, 6: 32}
PRIVATE_PREFIX_MIN: Final = {4: 8, 6: 7}
MAPPED: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # all of IPv4, in IPv6
MAPPED_PREFIX_MIN: Final = 96 + 16
# As OWASP's password storage cheat sheet has them: memory in KiB, and passes with it.
ARGON2_MIN: Final = ((47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5))
BCRYPT_ROUNDS_MIN: Final = 10
COST_MAX: Final = 20_000  # points for one operation: ten times what is usual
COST_BURST_MAX: Final = 200_000
COST_RESTORE_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and what to do. `acceptable`: it may be as it is where it was accepted by its name."""

    name: str
    sentence: str
    acceptable: bool = True
    about: str = ""  # the secret setting


def review(settings: Settings) -> list[Finding]:
    """Everything that is wrong with them in production, whatever was accepted."""
    return [finding for rule in RULES for finding in rule(settings)]


def accepted(settings: Settings) -> list[str]:
    """The names of the findings with which production starts all the same."""
    kept_out = refused(settings)
    found = review(settings) if settings.environment == "production" else []
    return sorted({finding.name for finding in found if finding not in kept_out})


def refused(settings: Settings, *, leaving: bool = False) -> list[Finding]:
    """What keeps a process from starting with them: nothing in development, else all that was not accepted.

    `leaving`: an earlier master key may be a bad one, for this process wraps anew what it has wrapped."""
    if settings.environment != "production":
        return []
    accepted = {name.strip() for name in settings.accepted_risks.split(",")}
    return [
        finding
        for finding in review(settings)
        if not (finding.acceptable and finding.name in accepted)
        and not (leaving and finding.about == "previous_master_keys")
    ]


def require_fit(settings: Settings, *, leaving: bool = False) -> Settings:
    """The same settings; raises ValueError, with a sentence for each that is refused."""
    if found := refused(settings, leaving=leaving):
        raise ValueError(told(found))
    return settings


def told(findings: list[Finding]) -> str:
    """One sentence for each."""
    some = " ".join(f"{finding.sentence} [{finding.name}]" for finding in findings)
    tail = ""
    if any(finding.acceptable for finding in findings):
        tail = " What is meant can be accepted by the names in brackets, in KONTOR_ACCEPTED_RISKS."
    return f"These settings are not fit for production: {some}{tail}"


def _bad_secrets(settings: Settings) -> Iterator[Finding]:
    for name, form, secret in _secrets(settings):
        if was_published(secret):
            yield Finding(
                "public-secret",
                f"{variable(name)} is a value that was published, so that everybody has it: make another with"
                " `kontor secrets`.",
                acceptable=False,
                about=name,
            )
        elif reason := too_weak(secret, key=form is not Form.TEXT and form is not Form.URL):
            yield Finding(
                "weak-secret",
                f"{variable(name)} is easily guessed ({reason}): make another with `kontor secrets`.",
                acceptable=False,
                about=name,
            )


def _equal_secrets(settings: Settings) -> Iterator[Finding]:
    given = list(_secrets(settings))
    for number, (name, _, secret) in enumerate(given):
        for other, _, before in given[:number]:
            if same(secret, before) and not _one_login(settings, name, other):
                what = f"{variable(name)} and {variable(other)} are" if name != other else f"{variable(name)} is twice"
                yield Finding(
                    "equal-secrets",
                    f"{what} the same secret, so that who has one has both: make each by itself with `kontor secrets`.",
                    acceptable=False,
                )


def _one_login(settings: Settings, name: str, other: str) -> bool:
    """Two settings that name the same login to the database, as a role and as whom a process connects."""
    if name == other or not (name.startswith("postgres_") and other.startswith("postgres_")):
        return False
    return _user(_text(settings, name)) == _user(_text(settings, other))


def _user(url: str) -> str:
    try:
        return str(conninfo_to_dict(url).get("user"))
    except ProgrammingError:
        return ""


def _text(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return value if isinstance(value, str) else str(value.get_secret_value())


def _secrets(settings: Settings) -> Iterator[tuple[str, Form, str]]:
    """Every secret that is set: the setting, its form, and the key or password itself."""
    for name, secret in SECRETS.items():
        text = _text(settings, name)
        if secret.form is Form.URL:
            if password := _password(text):
                yield name, secret.form, password
            continue
        for each in text.split(",") if secret.form is Form.KEYS else (text,):
            if each.strip():
                yield name, secret.form, each.strip()


def _password_hashing(settings: Settings) -> Iterator[Finding]:
    match password_scheme(settings.password_hashing):
        case Argon2(memory_kib=memory, passes=passes) if not any(memory >= m and passes >= t for m, t in ARGON2_MIN):
            least = f"m={ARGON2_MIN[1][0]},t={ARGON2_MIN[1][1]}"
            sentence = f"KONTOR_PASSWORD_HASHING is {settings.password_hashing}, and argon2id needs {least} at least."
            yield Finding("weak-password-hashing", sentence)
        case Bcrypt(rounds=rounds) if rounds < BCRYPT_ROUNDS_MIN:
            sentence = f"KONTOR_PASSWORD_HASHING is bcrypt:{rounds}, and {BCRYPT_ROUNDS_MIN} rounds are the least."
            yield Finding("weak-password-hashing", sentence)


def _trusted_proxies(settings: Settings) -> Iterator[Finding]:
    for text in filter(None, map(str.strip, settings.trusted_proxies.split(","))):
        if _is_wide(ip_network(text)):
            yield Finding(
                "wide-trusted-proxies",
                f"KONTOR_TRUSTED_PROXIES has {text}, so that anybody may say for which address he asks: name the"
                " addresses of your own proxies.",
            )


def _is_wide(network: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv6Network) and any(network.overlaps(mapped) for mapped in MAPPED):
        return network.prefixlen < MAPPED_PREFIX_MIN
    if network.prefixlen < PRIVATE_PREFIX_MIN[network.version]:
        return True  # the first and the last address of all are private, which says nothing of those between
    return not network.is_private and network.prefixlen < PROXY_PREFIX_MIN[network.version]


def _origins(settings: Settings) -> Iterator[Finding]:
    for origin in filter(None, map(str.strip, settings.allowed_origins.split(","))):
        parts = urlsplit(origin)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            yield Finding(
                "insecure-origins",
                f"KONTOR_ALLOWED_ORIGINS has {origin}, whose pages anybody on the way may write: use https.",
            )


def _urls(settings: Settings) -> Iterator[Finding]:
    for name, finding, why in (
        ("public_url", "insecure-public-url", "links in mails carry tokens"),
        ("stripe_url", "insecure-stripe-url", "the provider's key goes there with every request"),
    ):
        url = getattr(settings, name)
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            sentence = f"{variable(name)} begins with {parts.scheme}://, and {why}: use https."
            yield Finding(finding, sentence)


def _mail(settings: Settings) -> Iterator[Finding]:
    url = settings.smtp_url.get_secret_value()
    if not url:
        return
    scheme, host, _ = _parts(url)
    if scheme == "smtp" and not is_loopback(host):
        sentence = "KONTOR_SMTP_URL is smtp://, so that links to accounts go over the network in clear: use smtps://."
        yield Finding("plaintext-smtp", sentence)
    domain = settings.mail_from.rpartition("@")[2].rstrip(">").lower()
    if domain.rpartition(".")[2] in ("test", "example", "invalid", "localhost"):
        sentence = f"KONTOR_MAIL_FROM is of {domain}, which is nobody's: name a sender of your own."
        yield Finding("demo-mail-from", sentence)


def _limits(settings: Settings) -> Iterator[Finding]:
    for name, most in (
        ("cost_per_operation_max", COST_MAX),
        ("cost_burst", COST_BURST_MAX),
        ("cost_restore_per_s", COST_RESTORE_MAX),
    ):
        if (value := getattr(settings, name)) > most:
            sentence = f"{variable(name)} is {value}, which limits nobody: {most} is the most for production."
            yield Finding("no-cost-limits", sentence)


def _development(settings: Settings) -> Iterator[Finding]:
    if settings.webhook_private_addresses:
        yield Finding(
            "private-webhook-addresses",
            "KONTOR_WEBHOOK_PRIVATE_ADDRESSES is true, so that who registers an endpoint reaches your own network:"
            " unset it.",
        )


def _password(url: str) -> str:
    """Before the host, or among the parameters."""
    asked = parse_qs(url.partition("?")[2]).get("password", [""])[-1]
    return asked or _parts(url)[2]


def _plaintext(settings: Settings) -> Iterator[Finding]:
    mode = os.environ.get("PGSSLMODE")
    for name, sentence in (
        ("plaintext-kafka", plaintext_kafka(settings.brokers)),
        ("plaintext-postgres", plaintext_postgres(settings.postgres_url, default_mode=mode)),
        ("plaintext-redis", plaintext_redis(settings.redis_url) if settings.redis_url else None),
    ):
        if sentence is not None:
            yield Finding(name, sentence)


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, host and password; nothing of what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", unquote(parts.password or "")
    except ValueError:
        return "", "", ""


RULES: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    _bad_secrets,
    _equal_secrets,
    _password_hashing,
    _trusted_proxies,
    _origins,
    _urls,
    _mail,
    _plaintext,
    _limits,
    _development,
)
