"""The command `kontor verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
import uvloop

from adapters.wiring import open_kontor
from cli.installation import load_settings
from cli.log_output import log_to_stderr
from streams.verification import Verdict, verify_all

SHOWN_MAX = 50


def verify(as_json: Annotated[bool, typer.Option("--json", help="the verdict as one JSON object")] = False) -> None:
    """Compare the log with Kafka, every view and every Redis copy, per aggregate. May run on a live system.

    Exits with 1 when something differs, naming what is missing, extra, stale, different or out of order."""
    settings = load_settings()
    log_to_stderr("verify")

    async def compare() -> Verdict:
        async with open_kontor(settings, name="verify") as kontor:
            return await verify_all(kontor)

    verdict = uvloop.run(compare())
    if as_json:
        print(json.dumps(asdict(verdict), indent=2))
    else:
        for what, number in verdict.compared.items():
            print(f"{number:>10,}  {what}")
        for finding in verdict.findings[:SHOWN_MAX]:
            print(f"{finding.where}: {finding.what}: {finding.subject}: {finding.detail}")
        if verdict.findings_count > SHOWN_MAX:
            print(f"and {verdict.findings_count - SHOWN_MAX} more; --json lists up to 1,000")
        print(
            f"log = Kafka = every view, up to position {verdict.position}"
            if not verdict.findings_count
            else f"{verdict.findings_count} differences up to position {verdict.position}"
        )
    if verdict.findings_count:
        raise SystemExit(1)
