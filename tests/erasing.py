"""What a person's erasure leaves in the log: a key is destroyed only for somebody whose erasure is there."""

from __future__ import annotations

from uuid import UUID, uuid4

from commands.ports import Append, EventStore
from domain.users import User
from tests.given import NOW


async def erased_in_the_log(store: EventStore, *people: UUID, version: int = 1) -> None:
    """The log says that these people were erased; `version` is that of the event in each one's stream."""
    command_id = uuid4()
    await store.append(
        Append(
            command_id=command_id,
            command_name="EraseUser",
            request_digest=b"",
            result={},
            actor="system:test",
            correlation_id=command_id,
            causation_id=None,
            events=[
                User.Erased(originator_id=each, originator_version=version, timestamp=NOW, by="test") for each in people
            ],
        )
    )
