"""Apache Kafka 4.3 in KRaft mode as a child process: one node on loopback, broker and controller in one.

Guarantees: the storage appears under its final name only when formatted completely. Topics are never made by accident.
Records are kept for ever unless a topic says otherwise. Jars come from `jars`, Java from `java`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import shutil
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from cli.bytecode import cache_folder
from cli.stack.atomic_file import write_atomically
from cli.stack.home import Home
from cli.stack.jars import classpath, locked_jars
from cli.stack.java import Java
from cli.stack.problem import Problem
from cli.stack.process import Spec

NAME = "kafka"
FORMAT_TIMEOUT_S = 60.0

CONFIGURATION = """\
# Written by the launcher at every start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}
auto.create.topics.enable=false
delete.topic.enable=true
message.max.bytes=2097152
replica.fetch.max.bytes=2097152
log.retention.ms=-1
log.retention.bytes=-1
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.threads=1
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=3
background.threads=2
num.recovery.threads.per.data.dir=2
num.replica.fetchers=1
initial.broker.registration.timeout.ms=60000
# A killed broker may register again only when its old session has ended: with the usual 9 s it would be away for 16 s.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
"""

LOGGING = """\
# Written by the launcher at every start. Warnings, and the few lines that tell start from stop.
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{yyyy-MM-dd HH:mm:ss,SSS} %p %m (%c{1})%n%throwable
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""

# Measured on two cores: without the second compiler the broker serves after 3.9 s and 5 s of CPU in 157 MB, with it
# after 4.7 s, 8 s and 200 MB. The serial collector suits a heap this small.
JVM = (
    "-XX:TieredStopAtLevel=1",
    "-Xms96m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:MaxMetaspaceSize=128m",
    "-XX:ReservedCodeCacheSize=48m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)


def _class_archive(java: Java) -> Path:
    """Where the loaded classes of the broker are kept for this Java and these jars.

    With them the broker serves after 2.1 s and 2.9 s of CPU instead of 4.1 s and 5.1 s (measured on two cores).
    """
    program = Path(java.program).resolve()
    newest_jar_ns = max(jar.path.stat().st_mtime_ns for jar in locked_jars())
    key = f"{program} {program.stat().st_mtime_ns} {newest_jar_ns} {classpath()} {JVM}"
    return cache_folder() / f"kafka-classes-{hashlib.sha256(key.encode()).hexdigest()[:16]}.jsa"


def _command(home: Home, java: Java, *tail: str) -> tuple[str, ...]:
    jvm = (*JVM, "-XX:-UsePerfData", f"-Dlog4j2.configurationFile={home.kafka / 'log4j2.properties'}")
    return (java.program, *jvm, "-cp", classpath(), *tail)


def _write_configuration(home: Home, name: str, folder: Path, *, port: int, controller_port: int) -> Path:
    path = home.kafka / name
    write_atomically(path, CONFIGURATION.format(port=port, controller_port=controller_port, folder=folder))
    write_atomically(home.kafka / "log4j2.properties", LOGGING)
    return path


def format_spec(home: Home, java: Java, *, port: int, controller_port: int) -> Spec | None:
    """How to format the storage on the first start, None when it is formatted; raises Problem when it is damaged.

    Run it to its end, then call `finish_format`. What a killed earlier format left behind is removed here.
    """
    final, partial = home.kafka / "data", _partial(home)
    _remove_partial(home)
    if final.exists():
        if not (final / "meta.properties").exists():
            raise Problem(
                f"The Kafka data in {final} is damaged (meta.properties is missing): restore it from a copy, "
                "or delete the installation and its data with `kontor reset`."
            )
        return None
    configuration = _write_configuration(
        home, f"format-{os.getpid()}.properties", partial, port=port, controller_port=controller_port
    )
    tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id(), "--config", str(configuration))
    return Spec(
        name="kafka-format",
        argv=_command(home, java, *tool),
        log=home.log(NAME),
        marker=str(configuration),
        env=_environment(),
        ready_timeout_s=FORMAT_TIMEOUT_S,
    )


def finish_format(home: Home) -> None:
    """Give the formatted storage its name."""
    _partial(home).rename(home.kafka / "data")
    _remove_partial(home)


def _partial(home: Home) -> Path:
    """This launcher's own: a format that one killed before has left may still run, and writes what it was told to."""
    return home.kafka / f"data.partial-{os.getpid()}"


def _remove_partial(home: Home) -> None:
    for folder in home.kafka.glob("data.partial*"):
        shutil.rmtree(folder, ignore_errors=True)
    for configuration in home.kafka.glob("format*.properties"):
        configuration.unlink(missing_ok=True)


def spec(home: Home, java: Java, *, port: int, controller_port: int) -> Spec:
    """How to run the broker; it serves once it lists itself as a living broker."""
    configuration = home.kafka / "server.properties"
    archive, written = _class_archive(java), home.kafka / "classes.jsa"
    # Java writes the archive while it ends, which takes some seconds once; another start then finds it.
    sharing = f"-XX:SharedArchiveFile={archive}" if archive.exists() else f"-XX:ArchiveClassesAtExit={written}"
    quiet = ("-Xlog:disable", "-Xlog:all=error:stderr")

    def prepare() -> None:
        written.unlink(missing_ok=True)
        _write_configuration(home, configuration.name, home.kafka / "data", port=port, controller_port=controller_port)

    def stopped() -> None:
        # Only a process that ended by itself has written all of it.
        with suppress(OSError):
            shutil.copyfile(written, partial := archive.with_suffix(f".{os.getpid()}"))
            partial.rename(archive)
            written.unlink()

    async def ready(_pid: int) -> bool:
        return await answers(port)

    return Spec(
        name=NAME,
        argv=_command(home, java, sharing, *quiet, "kafka.Kafka", str(configuration)),
        log=home.log(NAME),
        marker=str(configuration),
        env=_environment(),
        ready=ready,
        prepare=prepare,
        stopped=stopped,
    )


def cluster_id() -> str:
    """A random id as Kafka makes them: 22 characters, of which the first is no dash, for that would be an option."""
    while True:
        made = urlsafe_b64encode(uuid.UUID(bytes=secrets.token_bytes(16), version=4).bytes).decode().rstrip("=")
        if not made.startswith("-"):
            return made


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


async def answers(port: int) -> bool:
    """Whether the broker takes requests and is part of its own cluster."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    except OSError:
        return False
    # A broker that is just starting refuses some requests, about which the client would print errors.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=3000)
    with suppress(KafkaError, OSError, TimeoutError):
        try:
            await client.bootstrap()
            return bool(client.cluster.brokers())
        finally:
            await client.close()
    return False
