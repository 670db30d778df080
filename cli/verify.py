"""The command `kontor verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from adapters.wiring import Kontor
from cli.opened import with_kontor
from streams import repairing
from streams.hash_chain import Anchor
from streams.verification import Verdict, verify_all

SHOWN_MAX = 50


def verify(
    as_json: Annotated[bool, typer.Option("--json", help="the verdict as one JSON object")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="heal from the log what differs, then compare again")
    ] = False,
    expect_hash: Annotated[
        list[str] | None,
        typer.Option(
            help="POSITION:HASH that the hash chain had, as an earlier run or the relay's log said; may be repeated"
        ),
    ] = None,
) -> None:
    """Compare the log with Kafka, every view and every Redis copy, per aggregate. May run on a live system.

    Exits with 1 when something differs, naming what is missing, extra, stale, different, out of order or parked;
    with --repair, when something still does. Nothing heals a log with holes or one that differs from its hash chain, or
    a process that does not run."""
    expected = _anchors(expect_hash or [])

    async def compare(kontor: Kontor) -> tuple[Verdict, Verdict | None]:
        first = await verify_all(kontor, expected=expected)
        if not (repair and first.findings):
            return first, None
        await repairing.repair(kontor, first)
        return first, await verify_all(kontor, expected=expected)

    first, after = with_kontor("verify", compare)
    verdict = after or first
    if as_json:
        healed = {"before_repair": _as_object(first)} if after else {}
        print(json.dumps(_as_object(verdict) | healed, indent=2))
    else:
        if after:
            _print_findings(first)
            print(f"{first.findings_count} differences were to be healed; now:")
        _print_verdict(verdict)
    if verdict.findings_count:
        raise SystemExit(1)


def _anchors(texts: list[str]) -> list[Anchor]:
    try:
        return [Anchor.of(text) for text in texts]
    except ValueError as error:
        raise typer.BadParameter(
            f"give POSITION:HASH as `kontor verify` prints it ({error})", param_hint="--expect-hash"
        ) from None


def _as_object(verdict: Verdict) -> dict[str, Any]:
    return {
        "position": verdict.position,
        "findings": [asdict(finding) for finding in verdict.findings],
        "findings_count": verdict.findings_count,
        "compared": verdict.compared,
        "chain_end": str(verdict.chain_end) if verdict.chain_end else None,
    }


def _print_verdict(verdict: Verdict) -> None:
    for what, number in verdict.compared.items():
        print(f"{number:>10,}  {what}")
    if verdict.chain_end:
        print(f"the hash chain ends with {verdict.chain_end}; keep it elsewhere, for --expect-hash")
    _print_findings(verdict)
    print(
        f"log = Kafka = every view, up to position {verdict.position}"
        if not verdict.findings_count
        else f"{verdict.findings_count} differences up to position {verdict.position}"
    )


def _print_findings(verdict: Verdict) -> None:
    for finding in verdict.findings[:SHOWN_MAX]:
        print(f"{finding.where}: {finding.what}: {finding.subject}: {finding.detail}")
    if verdict.findings_count > SHOWN_MAX:
        print(f"and {verdict.findings_count - SHOWN_MAX} more; --json lists up to 1,000")
