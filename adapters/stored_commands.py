"""Commands that were executed, as the log keeps them beside their events."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import psycopg

from commands.ports import StoredCommand, StreamHead

_COMMANDS: Final = """
SELECT command_id, request_digest, result, first_position, last_position FROM commands WHERE command_id = ANY(%s)
"""
_HEADS: Final = """
SELECT originator_id, context, max(originator_version), max(notification_id) FROM events
WHERE notification_id BETWEEN %s AND %s GROUP BY originator_id, context ORDER BY originator_id
"""


async def stored_commands(
    connection: psycopg.AsyncConnection[Any], command_ids: list[UUID]
) -> dict[UUID, StoredCommand]:
    """Those of them that are stored, each with how far it moved which streams."""
    found = {}
    for command_id, digest, result, first, last in await (
        await connection.execute(_COMMANDS, [command_ids])
    ).fetchall():
        heads: tuple[StreamHead, ...] = ()
        if first is not None:
            rows = await (await connection.execute(_HEADS, [first, last])).fetchall()
            heads = tuple(StreamHead(*row) for row in rows)
        found[command_id] = StoredCommand(command_id, bytes(digest), result, heads)
    return found
