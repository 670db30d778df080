"""Every table says which part of Kontor may do what with it."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.table_grants import PARTS, SEQUENCES, TABLES, VIEW_TABLES

ROOT = Path(__file__).parent.parent.parent
MADE = re.compile(r"CREATE (?:TABLE|VIEW) (?:IF NOT EXISTS )?(\w+)")
DROPPED = re.compile(r"DROP (?:TABLE|VIEW) (?:IF EXISTS )?(\w+)")


def tables_of(folder: str) -> set[str]:
    texts = [path.read_text() for path in sorted((ROOT / folder).glob("*.sql"))]
    return {name for text in texts for name in MADE.findall(text)} - {
        name for text in texts for name in DROPPED.findall(text)
    }


def test_every_table_is_in_the_list_of_grants() -> None:
    unlisted = tables_of("adapters/migrations") - TABLES.keys()
    assert not unlisted, f"Say in adapters/table_grants.py which part may do what with {sorted(unlisted)}."
    assert tables_of("projections") == VIEW_TABLES


def test_no_part_may_change_the_log() -> None:
    for table in ("events", "commands", "hash_chain"):
        for part, privileges in TABLES[table].items():
            assert set(privileges.split(", ")) <= {"SELECT", "INSERT"}, (table, part)


def test_grants_are_for_parts_that_exist() -> None:
    named = {part for granted in (*TABLES.values(), *SEQUENCES.values()) for part in granted}
    assert named == set(PARTS)
