"""The schema as text, kept beside this module: `python -m api.graphql.export` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from api.graphql.schema import schema

PLACE: Final = Path(__file__).with_name("schema.graphql")


def sdl() -> str:
    """The schema in the schema definition language, with descriptions."""
    return schema.as_str().rstrip() + "\n"


if __name__ == "__main__":
    PLACE.write_text(sdl(), encoding="utf-8")
