"""Mails through real servers on loopback: good ones, ones that refuse, and ones that are not what they should be."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.mailer import SmtpMailer
from adapters.settings import Settings
from adapters.smtp_url import smtp_server
from adapters.wiring import mailer_of
from commands.ports import Mail, MailerAway, MailRefused
from tests.adapters.mail_server import (
    Authority,
    Taken,
    hangs_up_after_the_mail,
    mail_server,
    says_nothing,
    stranger,
)

# Our own servers do ask for a password in clear: on loopback, where it is allowed.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
MAIL = Mail(
    message_id="0190-a",
    to="ada@example.com",
    subject="Your order K1",
    text="Grüße\n.\n" + "long " * 400 + "\n",
    html="<p>Grüße</p>\n",
)
SENDER = "Kontor & Söhne <no-reply@shop.example>"
SETTINGS = dict.fromkeys(("postgres_url", "kafka_url", "redis_url", "master_key", "jwt_key"), "x")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def mailer(url: str, *, ca_file: Path | None = None, timeout_s: float = 5) -> SmtpMailer:
    return SmtpMailer(
        smtp_server(url), sender=SENDER, ca_file=None if ca_file is None else str(ca_file), timeout_s=timeout_s
    )


async def test_a_mail_arrives_whole_with_both_parts_and_a_name_that_stays() -> None:
    taken = Taken()
    async with mail_server(taken) as port:
        for _ in range(2):
            await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)
    envelope, message = taken.envelopes[0], taken.messages[0]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@shop.example", ["ada@example.com"])
    assert {each["Message-ID"] for each in taken.messages} == {"<0190-a@shop.example>"}
    assert message["From"].addresses[0].display_name == "Kontor & Söhne"
    assert (message["To"], message["Subject"]) == ("ada@example.com", "Your order K1")
    assert message["Date"].datetime.tzinfo is not None
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), text.get_content().replace("\r\n", "\n")) == ("text/plain", MAIL.text)
    assert (html.get_content_type(), html.get_content().replace("\r\n", "\n")) == ("text/html", MAIL.html)
    assert max(map(len, envelope.original_content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("kind", ["smtps", "smtp+starttls"])
async def test_over_tls_a_login_is_sent_to_a_server_that_is_vouched_for(kind: str, authority: Authority) -> None:
    taken, context = Taken(), authority.server()
    how = {"tls": context} if kind == "smtps" else {"starttls": context}
    async with mail_server(taken, login=True, **how) as port:
        url = f"{kind}://kontor%40shop:p%40ss%3Aword@127.0.0.1:{port}"
        await mailer(url, ca_file=authority.file).send(MAIL)
    (login,) = taken.logins
    assert login[:2] == (b"kontor@shop", b"p@ss:word")
    assert login[2] or kind == "smtps"
    assert len(taken.messages) == 1


@pytest.mark.parametrize("kind", ["smtps", "smtp+starttls"])
@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_certificate_that_does_not_fit_gets_neither_login_nor_mail(
    kind: str, wrong: str, authority: Authority, tmp_path: Path
) -> None:
    taken = Taken()
    context = authority.server("127.0.0.2" if wrong == "name" else "127.0.0.1")
    how = {"tls": context} if kind == "smtps" else {"starttls": context}
    async with mail_server(taken, login=True, **how) as port:
        trusted = authority.file if wrong == "name" else None
        with pytest.raises(MailerAway, match="no trusted connection"):
            await mailer(f"{kind}://u:p@127.0.0.1:{port}", ca_file=trusted).send(MAIL)
    assert (taken.logins, taken.envelopes) == ([], [])


async def test_without_the_starttls_that_was_asked_for_nothing_is_sent() -> None:
    taken = Taken()
    async with mail_server(taken) as port:
        with pytest.raises(MailerAway, match="STARTTLS"):
            await mailer(f"smtp+starttls://u:p@127.0.0.1:{port}").send(MAIL)
    assert (taken.logins, taken.envelopes) == ([], [])


@pytest.mark.parametrize(
    ("command", "reply", "error", "says"),
    [
        ("RCPT", "550 5.1.1 <ada@example.com>: no such user", MailRefused, "refused: 550 5.1.1"),
        ("RCPT", "450 4.2.1 ada@example.com is greylisted", MailerAway, "answered 450 4.2.1"),
        ("DATA", "554 we do not want this from ada@example.com", MailRefused, "refused: 554"),
        ("DATA", "452 out of disk", MailerAway, "answered 452"),
        ("DATA", "530 5.7.0 sign in first", MailerAway, "answered 530"),
        ("MAIL", "550 we do not know no-reply@shop.example", MailerAway, "KONTOR_MAIL_FROM"),
        ("MAIL", "451 later", MailerAway, "KONTOR_MAIL_FROM"),
    ],
)
async def test_a_reply_says_whether_the_mail_may_be_sent_again_and_nothing_personal(
    command: str, reply: str, error: type[Exception], says: str
) -> None:
    taken = Taken(**{command: reply})
    async with mail_server(taken) as port:
        with pytest.raises(error, match=says) as refused:
            await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)
    assert "@" not in str(refused.value)
    assert taken.envelopes == []


async def test_a_login_that_is_refused_is_ours_to_correct_and_costs_no_mail() -> None:
    taken = Taken()
    async with mail_server(taken, login=True) as port:
        with pytest.raises(MailerAway, match="refuses the login") as away:
            await mailer(f"smtp://u:wrong@127.0.0.1:{port}").send(MAIL)
    assert "wrong" not in str(away.value)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async with stranger(says_nothing) as port:
        async with asyncio.timeout(30):
            with pytest.raises(MailerAway, match="does not answer"):
                await mailer(f"smtp://127.0.0.1:{port}", timeout_s=0.3).send(MAIL)


async def test_a_server_that_takes_for_ever_over_everything_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.mailer.SEND_S_MAX", 0.3)
    async with stranger(says_nothing) as port:
        async with asyncio.timeout(30):
            with pytest.raises(MailerAway, match="does not answer"):
                await mailer(f"smtp://127.0.0.1:{port}", timeout_s=60).send(MAIL)


async def test_of_a_mail_whose_answer_is_lost_nobody_knows() -> None:
    async with stranger(hangs_up_after_the_mail) as port:
        with pytest.raises(MailerAway):
            await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)


async def test_nobody_there_is_away() -> None:
    async with stranger(says_nothing) as port:
        pass
    with pytest.raises(MailerAway, match="does not answer"):
        await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.com>\r\nRCPT TO:<eve@example.com",
        "ada,eve@example.com",
        "<eve@x.example>ada@example.com",
        '"ada eve"@example.com',
        "ada(eve)@example.com",
        "ada@example.com\nBcc: eve@example.com",
        "ada@exa mple.com",
        "ada@" + "x" * 64 + ".com",
        "ada",
        "",
    ],
)
async def test_what_could_be_taken_for_more_than_one_address_is_refused_before_anything_is_said(to: str) -> None:
    with pytest.raises(MailRefused, match="cannot be written"):
        await mailer("smtp://127.0.0.1:1").send(replace(MAIL, to=to))


async def test_a_subject_stays_one_header() -> None:
    taken = Taken()
    async with mail_server(taken) as port:
        hostile = replace(MAIL, subject="Hello\r\nBcc: eve@example.com\r\n\r\nbody\u2028x")
        await mailer(f"smtp://127.0.0.1:{port}").send(hostile)
    (message,) = taken.messages
    assert message["Bcc"] is None
    assert message["Subject"] == "Hello Bcc: eve@example.com body x"
    assert taken.envelopes[0].rcpt_tos == ["ada@example.com"]


async def test_an_address_of_another_script_needs_a_server_that_knows_it() -> None:
    taken = Taken()
    async with mail_server(taken) as port:
        await mailer(f"smtp://127.0.0.1:{port}").send(replace(MAIL, to="jürgen@müller.example"))
    assert taken.envelopes[0].rcpt_tos == ["jürgen@xn--mller-kva.example"]
    async with mail_server(taken, enable_SMTPUTF8=False) as port:
        with pytest.raises(MailRefused, match="beyond ASCII"):
            await mailer(f"smtp://127.0.0.1:{port}").send(replace(MAIL, to="jürgen@example.com"))
        await mailer(f"smtp://127.0.0.1:{port}").send(replace(MAIL, to="ada@müller.example"))
    assert len(taken.envelopes) == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mail.example:25", "it has to be like"),
        ("http://mail.example", "it has to be like"),
        ("smtp://", "it has to be like"),
        ("smtp://mail.example:port", "it has to be like"),
        ("smtps://u@mail.example", "without a password"),
        ("smtp://u:secret@mail.example", "would send a password to mail.example in clear"),
        ("smtp://u:secret@10.0.0.1", "would send a password to 10.0.0.1 in clear"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_and_the_password_is_not_told(url: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as refused:
        Settings(**SETTINGS, smtp_url=url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "port"), [("smtp://h", 25), ("smtps://h", 465), ("smtp+starttls://h", 587), ("smtp://u:p@[::1]:2525", 2525)]
)
def test_a_port_that_is_not_named_is_the_usual_one(url: str, port: int) -> None:
    assert smtp_server(url).port == port


def test_without_a_url_there_is_no_mailer_and_a_sender_is_an_address() -> None:
    assert mailer_of(Settings(**SETTINGS)) is None
    assert mailer_of(Settings(**SETTINGS, smtp_url="smtps://mail.example")) is not None
    with pytest.raises(ValidationError, match="mail_from"):
        Settings(**SETTINGS, mail_from="Kontor")
    with pytest.raises(ValueError, match="is no sender"):
        SmtpMailer(smtp_server("smtp://h"), sender="Kontor <a b@c.example>")
    with pytest.raises(ssl.SSLError):
        SmtpMailer(smtp_server("smtps://h"), sender=SENDER, ca_file=__file__)
