"""The schema as text, kept beside this module: `python -m api.graphql.export` writes it anew.

`released.graphql` is the schema of the last release (before the first, of what clients had last), which later ones may
only add to. It is renewed when a release is made, with `python -m api.graphql.export --release`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from api.graphql.schema import schema

PLACE: Final = Path(__file__).with_name("schema.graphql")
RELEASED: Final = PLACE.with_name("released.graphql")


def sdl() -> str:
    """The schema in the schema definition language, with descriptions."""
    return schema.as_str().rstrip() + "\n"


if __name__ == "__main__":
    for place in (PLACE, RELEASED) if sys.argv[1:] == ["--release"] else (PLACE,):
        place.write_text(sdl(), encoding="utf-8")
