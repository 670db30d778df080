"""Servers that the installation was told to use, by KONTOR_POSTGRES_URL, KONTOR_KAFKA_URL and KONTOR_REDIS_URL.

Guarantees: they are only connected to, never started, stopped or changed. A sentence about one names its host and port,
never its password.
"""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

import psycopg

from cli.stack.problem import Problem

CONNECT_TIMEOUT_S = 5


def postgres_url() -> str | None:
    """The given PostgreSQL, or None when the installation runs its own."""
    return os.environ.get("KONTOR_POSTGRES_URL") or None


def kafka_url() -> str | None:
    """The given brokers as host:port[,host:port], or None."""
    return os.environ.get("KONTOR_KAFKA_URL") or None


def redis_url() -> str | None:
    """The given Redis, or None."""
    return os.environ.get("KONTOR_REDIS_URL") or None


def own_listeners() -> frozenset[str]:
    """Which servers the installation opens ports for itself."""
    own = set[str]()
    if postgres_url() is None:
        own.add("postgres")
    if kafka_url() is None:
        own |= {"kafka", "kafka_controller"}
    if redis_url() is None:
        own.add("redis")
    return frozenset(own)


async def check_postgres(url: str) -> None:
    """Raise Problem when the database cannot be used."""
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=CONNECT_TIMEOUT_S):
            return
    except psycopg.Error as error:
        raise Problem(
            f"The PostgreSQL that KONTOR_POSTGRES_URL names ({_place(url)}) cannot be used ({_kind(error)}): "
            "start it, correct the variable, or unset it to let Kontor start its own."
        ) from error


async def check_redis(url: str) -> None:
    """Raise Problem when nothing answers there."""
    parts = _split("KONTOR_REDIS_URL", url)
    await _check_open("KONTOR_REDIS_URL", "Redis", parts[0], parts[1] or 6379)


async def check_kafka(url: str) -> None:
    """Raise Problem unless one of the brokers answers."""
    problem: Problem | None = None
    for broker in url.split(","):
        host, port = _split("KONTOR_KAFKA_URL", f"kafka://{broker.strip()}")
        try:
            await _check_open("KONTOR_KAFKA_URL", "Kafka", host, port or 9092)
        except Problem as found:
            problem = found
        else:
            return
    if problem is not None:
        raise problem


async def _check_open(variable: str, server: str, host: str, port: int) -> None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except (OSError, TimeoutError) as error:
        raise Problem(
            f"The {server} that {variable} names ({host}:{port}) does not answer: "
            "start it, correct the variable, or unset it to let Kontor start its own."
        ) from error


def _split(variable: str, url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        if parts.hostname:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise Problem(f"{variable} does not name a host and port: correct it, or unset it to let Kontor start its own.")


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'local'}:{parts.port or 5432}"
    except ValueError:
        return "not a URL"


def _kind(error: psycopg.Error) -> str:
    return "it refuses the password or the database" if "FATAL" in str(error) else "it does not answer"
