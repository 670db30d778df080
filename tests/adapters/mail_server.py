"""Real mail servers on free loopback ports, which do as they are told; and an authority that vouches for them."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Speaks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Taken:
    """What a server has taken, and what it answers to each command; without an answer it takes it."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.envelopes: list[Any] = []
        self.logins: list[tuple[bytes, bytes, bool]] = []

    @property
    def messages(self) -> list[EmailMessage]:
        return [BytesParser(policy=default).parsebytes(each.original_content) for each in self.envelopes]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            self.envelopes.append(envelope)
        return answer

    def authenticator(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=data.password == b"p@ss:word", handled=False)


@asynccontextmanager
async def mail_server(taken: Taken, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None,
                      login: bool = False, **more: Any) -> AsyncIterator[int]:  # fmt: skip
    """Its port."""

    def protocol() -> SMTP:
        return SMTP(
            taken,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=login,
            auth_require_tls=starttls is not None,
            authenticator=taken.authenticator,
            **({"enable_SMTPUTF8": True} | more),
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def stranger(speaks: Speaks) -> AsyncIterator[int]:
    """The port of something that is no mail server, or stops being one."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speaks(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the connection and is silent."""
    await reader.read()


async def hangs_up_after_the_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes all of the mail, and dies before it says so."""
    writer.write(b"220 mail.test\r\n")
    while line := await reader.readline():
        if line == b".\r\n":
            return
        if line.split(b" ")[0].strip().upper() in (b"EHLO", b"MAIL", b"RCPT"):
            writer.write(b"250 OK\r\n")
        elif line.strip().upper() == b"DATA":
            writer.write(b"354 go on\r\n")


class Authority:
    """A certificate authority of this test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        made = self._builder(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_usage(signs=True), critical=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, address: str = "127.0.0.1") -> ssl.SSLContext:
        """For a server that is reached by this address."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(x509.Name([]), key.public_key())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        made = made.add_extension(names, critical=True).add_extension(_usage(signs=False), critical=True)
        file = self._folder / f"{address}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(identifier, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
