"""What asking costs and tells: a door, declared beside each command, root field and route. Pure.

Everything that counts is derived from it (`api.throttling`), for GraphQL, REST and WebSockets alike. Where there is
nothing to declare, `PLAIN` says so: what declares no door does not start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

OWN: Final = "own"  # instead of the name of an input: what belongs to the account itself


class UndeclaredDoor(Exception):
    """Somebody can ask for something of which nobody has said what it costs and tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The costs are about inputs, which are named.

    `guesses`: the input that holds a secret, which is compared with the right one. `of`: the input that says whose
    secret that is; without it, it is the actor's, or whoever's the secret is. `hashes`: how many slow hashes are
    computed at most. `mails`: the input that says to which mailbox a mail goes; OWN is the one on record. `tells`: the
    input of which the answer tells whether it exists. `hides`: the input of which neither the answer nor its time may
    tell it. `folds`: the past is read, and charged by its events. `follows`:
    it is charged for as long as it lives, by its items. `posts`: a request goes to an address that a client gave."""

    guesses: str = ""
    of: str = ""
    hashes: int = 0
    mails: str = ""
    tells: str = ""
    hides: str = ""
    folds: bool = False
    follows: bool = False
    posts: bool = False

    @property
    def is_counted(self) -> bool:
        """Is there anything that its use takes a share of?"""
        return bool(self.guesses or self.hashes or self.tells or self.posts or self.mails not in ("", OWN))

    @property
    def inputs(self) -> Iterator[str]:
        """The inputs it names."""
        yield from (
            name for name in (self.guesses, self.of, self.mails, self.tells, self.hides) if name and name != OWN
        )

    def require_inputs(self, name: str, inputs: Collection[str]) -> None:
        """Raises UndeclaredDoor for an input that what it belongs to does not have: nothing would be counted."""
        if unknown := sorted(set(self.inputs) - set(inputs)):
            raise UndeclaredDoor(
                f"The door of {name} names the input {unknown[0]}, which it does not have; it has {', '.join(inputs)}."
            )


PLAIN: Final = Door()  # costs what every request costs, compares no secret, and tells nothing
UNDECLARED: Final = Door(hashes=-1)


def require_declared(name: str, door: Door | None, inputs: Collection[str]) -> Door:
    """The door. Raises UndeclaredDoor where there is none, or one that fits no input."""
    if door is None or door is UNDECLARED:
        raise UndeclaredDoor(
            f"{name} declares no door: say what it costs and tells where it is declared (door=Door(...), see "
            "commands.doors), or that it is nothing (door=PLAIN)."
        )
    door.require_inputs(name, inputs)
    return door
