"""TLS and SASL to a real broker: producer, consumers, admin client and Faust, by settings alone."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from psycopg.sql import SQL

from adapters.kafka import ensure_topics
from adapters.settings import Settings
from adapters.topics import KafkaTopics
from adapters.wiring import Kontor, open_kontor, record_signatures
from cli.processes import environment_of
from commands.catalogue import AddProduct
from domain.money import Money
from streams.credentials import credentials_of
from streams.verification import verify_all
from tests.conftest import ROOT
from tests.given import SYSTEM
from tests.streams.secured_kafka import PASSWORD, USERNAME, SecuredKafka, secured_kafka

pytestmark = pytest.mark.servers
WITHIN_S = 180.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("secured-kafka")) as running:
        yield running


def ways(broker: SecuredKafka) -> dict[str, dict[str, Any]]:
    """The settings of each way in."""
    ca, named = str(broker.folder / "ca.pem"), {"kafka_username": USERNAME, "kafka_password": PASSWORD}
    sasl = {"kafka_security_protocol": "SASL_SSL", "kafka_ca_file": ca, **named}
    return {
        "scram-256": {"kafka_url": f"127.0.0.1:{broker.scram}", "kafka_sasl_mechanism": "SCRAM-SHA-256", **sasl},
        "scram-512": {"kafka_url": f"127.0.0.1:{broker.scram}", "kafka_sasl_mechanism": "SCRAM-SHA-512", **sasl},
        "plain": {"kafka_url": f"127.0.0.1:{broker.plain}", "kafka_sasl_mechanism": "PLAIN", **sasl},
        "certificate": {
            "kafka_url": f"127.0.0.1:{broker.cert}",
            "kafka_security_protocol": "SSL",
            "kafka_ca_file": ca,
            "kafka_certificate_file": str(broker.folder / "client.pem"),
            "kafka_key_file": str(broker.folder / "client.key"),
        },
    }


def over(settings: Settings, way: dict[str, Any]) -> Settings:
    """The same installation with another way to Kafka; validated, as an environment is."""
    return Settings.model_validate(settings.model_dump() | way)


async def topics_made(settings: Settings) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await ensure_topics(
                    settings.brokers, prefix=settings.topic_prefix, replication_factor=1, min_insync_replicas=1
                )
                return
            except KafkaError:  # it is still starting
                await asyncio.sleep(0.2)


async def shown(kontor: Kontor) -> bool:
    """Whether the product that was added is in its view."""
    return bool(await kontor.reads.fetch(SQL("SELECT 1 FROM catalogue_v1"), []))


async def test_an_event_travels_through_the_relay_and_a_worker(settings: Settings, broker: SecuredKafka) -> None:
    secured = over(settings, ways(broker)["scram-512"])
    await topics_made(secured)
    async with open_kontor(secured, name="test") as kontor:
        await kontor.copies.begin()
        environment = os.environ | environment_of(secured)
        relay, worker = (
            subprocess.Popen([sys.executable, "-m", "cli.main", name], cwd=ROOT, env=environment)
            for name in ("relay", "worker")
        )
        try:
            await kontor.pipeline.execute(AddProduct(sku="MUG", name="Mug", price=Money(1, "GBP")), actor=SYSTEM)
            async with asyncio.timeout(WITHIN_S):
                while not await shown(kontor):
                    assert worker.poll() is relay.poll() is None
                    await asyncio.sleep(0.1)
            assert (await verify_all(kontor)).findings == []
        finally:
            for process in (relay, worker):
                process.send_signal(signal.SIGTERM)
                process.wait(30)


@pytest.mark.parametrize("way", ["scram-256", "scram-512", "plain", "certificate"])
async def test_admin_client_producer_and_consumer_take_every_way_in(
    settings: Settings, broker: SecuredKafka, way: str
) -> None:
    secured = over(settings, ways(broker)[way])
    await topics_made(secured)
    async with KafkaTopics(secured, record_signatures(secured)).open() as topics:
        assert await topics.ends([("catalogue", 0)]) == {("catalogue", 0): 0}


@pytest.mark.parametrize("way", ["scram-256", "scram-512", "plain", "certificate"])
def test_faust_is_given_what_every_other_client_is_given(settings: Settings, broker: SecuredKafka, way: str) -> None:
    brokers = over(settings, ways(broker)[way]).brokers
    given_to_faust = credentials_to_aiokafka_auth(credentials_of(brokers))
    options = {"bootstrap_servers": brokers.servers, **given_to_faust}
    expected = brokers.client_options()
    assert options.pop("ssl_context").verify_mode is expected.pop("ssl_context").verify_mode is ssl.CERT_REQUIRED
    assert options == expected


@pytest.mark.parametrize(
    ("way", "changed"),
    [
        ("scram-512", {"kafka_password": "another"}),
        ("plain", {"kafka_password": "another"}),
        ("scram-512", {"kafka_ca_file": "stranger.pem"}),
        ("scram-512", {"kafka_ca_file": None}),
        ("certificate", {"kafka_certificate_file": None, "kafka_key_file": None}),
        ("scram-512", {"kafka_url": "localhost"}),  # a name that the certificate does not have
        ("scram-512", {"kafka_security_protocol": "PLAINTEXT", "kafka_ca_file": None, "kafka_username": "",
                       "kafka_password": ""}),
    ],
)  # fmt: skip
async def test_what_does_not_prove_itself_is_not_spoken_to(
    settings: Settings, broker: SecuredKafka, way: str, changed: dict[str, Any]
) -> None:
    await topics_made(over(settings, ways(broker)["scram-512"]))
    if changed.get("kafka_url"):
        changed = {"kafka_url": f"localhost:{broker.scram}"}
    if changed.get("kafka_ca_file"):
        changed = {"kafka_ca_file": str(broker.folder / changed["kafka_ca_file"])}
    wrong = over(settings, ways(broker)[way] | changed)
    with pytest.raises((KafkaConnectionError, KafkaError, TimeoutError)):
        async with asyncio.timeout(20), KafkaTopics(wrong, record_signatures(wrong)).open():
            pass


def given(**kafka: Any) -> Settings:
    required = {"postgres_url": "", "kafka_url": "kafka:9093", "redis_url": "", "master_key": "", "jwt_key": ""}
    return Settings.model_validate(required | kafka)


@pytest.mark.parametrize(
    ("kafka", "said"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "needs KONTOR_KAFKA_USERNAME and KONTOR_KAFKA_PASSWORD"),
        ({"kafka_username": "kontor", "kafka_password": "x"}, "sends no username"),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_mechanism": "PLAIN", "kafka_username": "kontor",
             "kafka_password": "secret-9b"},
            "would send the password in clear",
        ),
        ({"kafka_ca_file": "ca.pem"}, "does not use TLS"),
        ({"kafka_security_protocol": "SSL", "kafka_key_file": "k"}, "needs both"),
        ({"kafka_security_protocol": "TLS"}, "Input should be"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused_with_a_sentence(kafka: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        given(**kafka)
    assert "secret-9b" not in str(refused.value)


def test_the_password_is_in_no_representation() -> None:
    settings = given(kafka_security_protocol="SASL_SSL", kafka_username="kontor", kafka_password="secret-9b")
    assert "secret-9b" not in f"{settings!r} {settings.brokers!r} {settings.brokers}"
