"""`kontor command NAME --json TEXT`: one command through the pipeline, as an operator at the machine.

The same names, input and receipt as `POST /v1/commands/{name}`, and also the commands that only Kontor's own
processes may use. The log records the actor as `system:operator`.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer
import uvloop

from cli.exits import one_sentence
from cli.installation import load_settings
from cli.log_output import log_to_stderr
from cli.stack.problem import Problem

INPUT_BYTES_MAX: Final = 1_048_576


@one_sentence
def command(
    name: Annotated[str | None, typer.Argument(help="Like place-order; without it, all are listed.")] = None,
    text: Annotated[str | None, typer.Option("--json", help="The input as JSON; - reads standard input.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Makes repeating safe.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the input instead.")] = False,
) -> None:
    """Execute one command; prints its receipt as JSON. Without --json, says what the command takes."""
    import msgspec  # noqa: PLC0415  # imported when asked for: start-up time

    from api.rest.commands import summary  # noqa: PLC0415
    from api.rest.forms import BY_NAME, json_schema  # noqa: PLC0415

    if name is None:
        for each, known in BY_NAME.items():
            print(f"{each:24} {summary(known)}")
        return
    if name not in BY_NAME:
        raise Problem(f"There is no command {name}; `kontor command` lists them all.")
    if schema or text is None:
        print(msgspec.json.format(msgspec.json.encode(json_schema(BY_NAME[name])), indent=2).decode())
        return
    settings = load_settings("operator")
    log_to_stderr("command")
    given = sys.stdin.read(INPUT_BYTES_MAX + 1) if text == "-" else text
    if len(given) > INPUT_BYTES_MAX:
        raise Problem(f"The input is larger than {INPUT_BYTES_MAX} bytes; split it.")
    print(uvloop.run(_execute(settings, BY_NAME[name], given, idempotency_key)))


async def _execute(settings: Any, listed: Any, given: str, key: str | None) -> str:
    from pydantic import ValidationError  # noqa: PLC0415

    from adapters.wiring import open_kontor  # noqa: PLC0415
    from api.rest.commands import receipt_of  # noqa: PLC0415
    from api.rest.forms import command_of, form_of, readable  # noqa: PLC0415
    from commands.handling import Actor  # noqa: PLC0415
    from domain.errors import DomainError, Forbidden  # noqa: PLC0415

    try:
        request = command_of(listed.request, form_of(listed.request).model_validate_json(given))
        async with open_kontor(settings, name="command") as kontor:
            outcome = await kontor.pipeline.execute(request, actor=Actor.system("operator"), idempotency_key=key)
            return receipt_of(kontor, request, outcome).model_dump_json(by_alias=True, indent=2)
    except ValidationError as error:
        raise Problem(
            "; ".join(f"{'.'.join(each['field']) or 'input'}: {each['message']}" for each in readable(error))
        ) from error
    except DomainError as error:
        raise Problem(f"{error.code}: {error.message}") from error
    except Forbidden as error:
        raise Problem(f"FORBIDDEN: {error}") from error
