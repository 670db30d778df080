"""The test cases that the event sourcing library ships for recorders, on Kontor's recorder and log.

They are written for unittest and know nothing of our settings, so each gets a database of its own here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from eventsourcing.persistence import ApplicationRecorder
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from adapters.library import LogRecorder
from adapters.schema import migrate
from tests.conftest import Stack

pytestmark = pytest.mark.servers


class OnKontorsLog:
    """Gives the cases a recorder on an empty log. Their topics are none of Kontor's."""

    url: str

    @pytest.fixture(autouse=True)
    def _log(self, stack: Stack) -> Iterator[None]:
        whole, name = stack.settings.postgres_url, f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(whole, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
            self.url = whole.rpartition("/")[0] + f"/{name}"
            asyncio.run(migrate(self.url))
            self.opened: list[PostgresDatastore] = []
            yield
            for datastore in self.opened:
                datastore.close()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def create_recorder(self) -> ApplicationRecorder:
        parts = urlsplit(self.url)
        datastore = PostgresDatastore(
            dbname=parts.path.lstrip("/"),
            host=parts.hostname or "",
            port=parts.port or 5432,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            pool_size=5,  # a subscription holds one
        )
        self.opened.append(datastore)
        return LogRecorder(datastore, context_of=lambda _: "inventory")


class TestApplicationRecorder(OnKontorsLog, ApplicationRecorderTestCase[Any]):
    def test_insert_subscribe(self) -> None:
        super().optional_test_insert_subscribe()


class TestNonInterleavingNotificationIDs(OnKontorsLog, NonInterleavingNotificationIDsBaseCase):
    insert_num = 1000
