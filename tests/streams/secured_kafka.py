"""A real broker without a plaintext listener: SCRAM over TLS, PLAIN over TLS, and client certificates."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cli.stack.jars import classpath
from cli.stack.java import find_java
from cli.stack.kafka import CONFIGURATION, JVM, LOGGING, cluster_id
from tests.gateways import free_port

USERNAME, PASSWORD = "kontor", "a password of the broker"
MODULE = "org.apache.kafka.common.security"
SECURED = """\
listeners=SCRAM://127.0.0.1:{scram},PLAIN://127.0.0.1:{plain},CERT://127.0.0.1:{cert},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SCRAM://127.0.0.1:{scram},PLAIN://127.0.0.1:{plain},CERT://127.0.0.1:{cert}
listener.security.protocol.map=SCRAM:SASL_SSL,PLAIN:SASL_SSL,CERT:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CERT
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.cert.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.plain.sasl.enabled.mechanisms=PLAIN
listener.name.plain.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{username}="{password}";
"""
REPLACED = ("listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name")


@dataclass(frozen=True)
class SecuredKafka:
    """Where it listens, and the folder of its certificates: `ca.pem`, `client.pem`, `client.key`, `stranger.pem`."""

    scram: int
    plain: int
    cert: int
    folder: Path


class Authority:
    """Issues certificates for 127.0.0.1."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._builder(self.name, self.key).add_extension(constraints, critical=True)
        self.pem = self.certificate.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """The certificate and its private key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = self._builder(subject, key).add_extension(names, critical=False).sign(self.key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return made.public_bytes(Encoding.PEM), private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def write_certificates(folder: Path) -> None:
    authority, stranger = Authority("authority of the test"), Authority("another authority")
    for name in ("server", "client"):
        certificate, key = authority.issue(name)
        (folder / f"{name}.pem").write_bytes(key + certificate if name == "server" else certificate)
        (folder / f"{name}.key").write_bytes(key)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "stranger.pem").write_bytes(stranger.pem)


@contextmanager
def secured_kafka(folder: Path) -> Iterator[SecuredKafka]:
    """Starts the broker, without waiting until it serves; stops it at the end."""
    write_certificates(folder)
    scram, plain, cert, controller = (free_port() for _ in range(4))
    usual = CONFIGURATION.format(port=scram, controller_port=controller, folder=folder / "data").splitlines()
    kept = [line for line in usual if line.partition("=")[0] not in REPLACED]
    secured = SECURED.format(
        scram=scram, plain=plain, cert=cert, controller=controller, folder=folder, module=MODULE, username=USERNAME,
        password=PASSWORD,
    )  # fmt: skip
    (configuration := folder / "server.properties").write_text("\n".join(kept) + "\n" + secured)
    (folder / "log4j2.properties").write_text(LOGGING)
    logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
    java = (find_java().program, *JVM, logging, "-cp", classpath())
    scrams = [f"SCRAM-SHA-{bits}=[name={USERNAME},password={PASSWORD}]" for bits in (256, 512)]
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster_id(), "--config", str(configuration)]
    subprocess.run([*java, *tool, *(part for scram in scrams for part in ("--add-scram", scram))], check=True, cwd="/")
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [*java, "kafka.Kafka", str(configuration)],
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        try:
            yield SecuredKafka(scram, plain, cert, folder)
        finally:
            running.kill()
            running.wait()
