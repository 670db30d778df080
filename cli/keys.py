"""`kontor keys`: another master key, another key that signs access tokens, another that signs records on Kafka.

`rotate` wraps every stored key by the present master key.
The way to another master key: set KONTOR_MASTER_KEY to the new one and KONTOR_PREVIOUS_MASTER_KEYS to the old one,
start every process anew, run this, then take KONTOR_PREVIOUS_MASTER_KEYS away.

`rotate-signing` makes a key for access tokens: in an installation of `kontor up` it signs from the next start on; where
KONTOR_JWT_KEY is set from outside, it is printed, with the steps in which nobody is signed out.

`rotate-records` does the same for the key that signs the records on Kafka.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from typing import Annotated

import typer

from cli.exits import one_sentence
from cli.opened import with_kontor
from cli.stack.home import default_home, rotate_record_key, rotate_signing_key
from cli.stack.problem import Problem

HELP = "The keys that seal personal data, sign access tokens, and sign the records on Kafka."
STEPS = """\
This key is good for nothing yet. Everybody stays signed in when you:
1. add it to KONTOR_OTHER_JWT_KEYS, start every API process anew, and wait 5 minutes: so long their list is cached;
2. make it KONTOR_JWT_KEY, put the key before into KONTOR_OTHER_JWT_KEYS, and start every API process anew;
3. after 15 minutes take the key before away. If it leaked, do all at once: its tokens are then refused, and clients
   refresh theirs."""
RECORD_STEPS = """\
This key is good for nothing yet. Every record stays believed when you:
1. add it to KONTOR_PREVIOUS_RECORD_KEYS of every worker and relay, and start them anew;
2. make it KONTOR_RECORD_KEY, put the key before into KONTOR_PREVIOUS_RECORD_KEYS, and start them anew;
3. take the key before away when you like, or at once if it leaked, and start them anew: the relay then publishes every
   partition again, signed with the new key, and workers read from the log meanwhile."""

app = typer.Typer(no_args_is_help=True, help=HELP)


@app.callback()
def keys() -> None:
    """The keys that seal personal data, sign access tokens, and sign the records on Kafka."""


@app.command()
@one_sentence
def rotate() -> None:
    """Wrap every stored key by the present master key; may be interrupted and repeated, beside a running system."""
    from adapters.master_keys import WrongMasterKey  # noqa: PLC0415  # imported when asked for: start-up time
    from adapters.security_log import tell  # noqa: PLC0415
    from commands.security_events import SecurityEvent  # noqa: PLC0415

    try:
        wrapped = with_kontor("keys", lambda kontor: kontor.personal_data.rotate(), leaving=True)
    except WrongMasterKey as error:
        raise Problem(str(error)) from error
    tell(SecurityEvent.KEYS_ROTATED, who="system:operator", what="keys rotate", keys=wrapped)
    print(f"keys wrapped anew: {wrapped}")


@app.command("rotate-signing")
@one_sentence
def rotate_signing(
    forget: Annotated[
        bool, typer.Option("--forget", help="refuse at once what the key before signed: it leaked")
    ] = False,
) -> None:
    """Make another key that signs access tokens; what the one before signed stays good until it expires."""
    from adapters.access_tokens import key_id  # noqa: PLC0415  # imported when asked for: start-up time

    if os.environ.get("KONTOR_JWT_KEY"):
        print(base64.b64encode(secrets.token_bytes(32)).decode())
        print(STEPS, file=sys.stderr)
        return
    made = rotate_signing_key(default_home(), forget=forget)
    print(f"from the next start on tokens are signed by the key {key_id(base64.b64decode(made.jwt_key))}")


@app.command("rotate-records")
@one_sentence
def rotate_records(
    forget: Annotated[
        bool, typer.Option("--forget", help="believe nothing that the key before signed: it leaked")
    ] = False,
) -> None:
    """Make another key that signs the records on Kafka; what the one before signed is still believed."""
    if os.environ.get("KONTOR_RECORD_KEY"):
        print(base64.b64encode(secrets.token_bytes(32)).decode())
        print(RECORD_STEPS, file=sys.stderr)
        return
    rotate_record_key(default_home(), forget=forget)
    print("from the next start on records are signed by another key")
