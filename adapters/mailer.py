"""Mails over SMTP: one connection a mail, text and HTML side by side, TLS as the URL says and always verified.

Whatever stands in a mail, it cannot become another header or another recipient. A server that refuses us, and not the
mail, is as good as away: the mail is still good when the settings are.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Any, Final, NoReturn

import aiosmtplib

from adapters.smtp_url import SmtpServer
from commands.ports import Mail, MailerAway, MailRefused

COMMAND_TIMEOUT_S: Final = 10.0
SEND_S_MAX: Final = 30.0
# RFC 5321: the replies that speak of the mail. Those to a greeting, a login or our own address speak of us.
_PERMANENT: Final = range(500, 600)
# RFC 4954: it wants a login, or a better one, before it looks at any mail.
_ABOUT_THE_LOGIN: Final = frozenset({530, 534, 535, 538})
# RFC 5322's dot-atom, and what RFC 6531 adds to it: nothing that a header or a command could take for its own.
_LOCAL_PART: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ENHANCED_CODE: Final = re.compile(r"^([45]\.\d{1,3}\.\d{1,3})\b")


class _HeaderClasses(HeaderRegistry):
    """The library's makes a class anew for every header of every mail: a third of the time of a message."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        key = name.lower()
        if key not in self._made:
            self._made[key] = super().__getitem__(name)
        return self._made[key]


_POLICY: Final = SMTP.clone(header_factory=_HeaderClasses())


class SmtpMailer:
    """See `commands.ports.Mailer`. `sender` is like `Kontor <no-reply@shop.example>`; `ca_file` (PEM) is trusted
    instead of the system's authorities. Raises ValueError for a sender that is no address, OSError for the file."""

    def __init__(
        self, server: SmtpServer, *, sender: str, ca_file: str | None = None, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> None:
        self._server = server
        self._timeout_s = timeout_s
        name, address = parseaddr(sender)
        given = _address(address, name)
        if given is None:
            raise ValueError(f"{sender!r} is no sender: give one like Kontor <no-reply@shop.example>.")
        self._from = given
        self._tls = ssl.create_default_context(cafile=ca_file) if server.tls or server.starttls else None

    async def send(self, mail: Mail) -> None:
        """See `commands.ports.Mailer.send`. Returns or raises within SEND_S_MAX."""
        to = _address(mail.to)
        if to is None:
            raise MailRefused("the address cannot be written in a mail")
        message = _message(mail, sender=self._from, to=to, now=datetime.now(UTC))
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.tls,
            start_tls=server.starttls,
            tls_context=self._tls,
            # Its own name would be looked up, and told.
            local_hostname="kontor.invalid",
            timeout=self._timeout_s,
        )
        with _told(server):
            try:
                async with asyncio.timeout(SEND_S_MAX):
                    await client.connect()
                    await client.send_message(message, sender=self._from.addr_spec, recipients=[to.addr_spec])
            finally:
                # The server has answered, or nobody knows: a farewell would change nothing and could fail.
                client.close()


def _address(text: str, name: str = "") -> Address | None:
    """The address with its domain in ASCII; None for what could be taken for something else in a header."""
    local_part, _, domain = text.rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    if not _LOCAL_PART.fullmatch(local_part) or not re.fullmatch(r"[A-Za-z0-9.-]+", domain):
        return None
    return Address(_one_line(name), local_part, domain)


def _message(mail: Mail, *, sender: Address, to: Address, now: datetime) -> EmailMessage:
    assert _MESSAGE_ID.fullmatch(mail.message_id), mail.message_id
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = _one_line(mail.subject)
    message["Date"] = now
    message["Message-ID"] = f"<{mail.message_id}@{sender.domain}>"
    # RFC 3834: so that nobody's absence note is mailed back.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def _one_line(text: str) -> str:
    return " ".join(_UNSEEN.sub(" ", text).split())


@contextmanager
def _told(server: SmtpServer) -> Iterator[None]:
    """Whatever can go wrong, as one of the two answers; what the server said is not told, it quotes addresses."""
    where = f"{server.host}:{server.port}"
    try:
        yield
    except aiosmtplib.SMTPRecipientsRefused as error:
        _refused(error.recipients[0], where)
    except (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError) as error:
        _refused(error, where)
    except aiosmtplib.SMTPNotSupported:
        raise MailRefused("the mail server takes no address beyond ASCII") from None
    except aiosmtplib.SMTPAuthenticationError as error:
        raise MailerAway(f"the mail server {where} refuses the login ({error.code}); check KONTOR_SMTP_URL") from None
    except aiosmtplib.SMTPSenderRefused as error:
        raise MailerAway(f"the mail server {where} refuses the sender ({error.code}); check KONTOR_MAIL_FROM") from None
    except aiosmtplib.SMTPResponseException as error:
        raise MailerAway(f"the mail server {where} answered {error.code}") from None
    except ssl.SSLError as error:
        raise MailerAway(f"no trusted connection to the mail server {where}: {error.reason}") from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise MailerAway(f"the mail server {where} does not answer ({_kind(error)})") from None


def _refused(error: aiosmtplib.SMTPResponseException, where: str) -> NoReturn:
    found = _ENHANCED_CODE.match(error.message)
    code = f"{error.code} {found.group(1)}" if found else str(error.code)
    if error.code in _PERMANENT and error.code not in _ABOUT_THE_LOGIN:
        raise MailRefused(f"refused: {code}") from None
    raise MailerAway(f"the mail server {where} answered {code}") from None


def _kind(error: BaseException) -> str:
    if type(error) is aiosmtplib.SMTPException:
        return str(error)  # the client's own words: the server offers no STARTTLS, or no login
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError):
        return f"no trusted connection: {cause.reason}"
    return type(cause or error).__name__
