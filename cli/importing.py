"""The command `kontor import`: progress while it runs, a report at the end."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from adapters.wiring import open_kontor
from cli.installation import load_settings
from cli.log_output import log_to_stderr
from cli.sales_file import NotASalesFile, SalesFile, read_sales_file
from cli.sales_import import Report, import_sales

EXAMPLES_MAX = 3


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV of sale lines, plain or gzip")],
    live: Annotated[bool, typer.Option("--live", help="place the orders; without it the file is only checked")] = False,
    left_out: Annotated[Path | None, typer.Option(help="write every line left out to this CSV file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the report as one JSON object")] = False,
) -> None:
    """Import a file of sales: products, stock, customers, and every invoice as a live order.

    May be interrupted and started again: nothing doubles. Exits with 1 when the file is not one, when an
    order was not decided or was rejected, or when a line was refused."""
    console = Console(stderr=True)
    try:
        sales = read_sales_file(file)
    except NotASalesFile as error:
        console.print(str(error), markup=False)
        raise SystemExit(1) from None
    report = _run(console, sales, file) if live else _planned(sales)
    if left_out is not None:
        _write_left_out(left_out, report)
    document = _document(report)
    print(json.dumps(document, indent=2) if as_json else _text(document, report, live))
    if live and (document["orders_by_status"].get("CONFIRMED", 0) != report.orders or document["refused"]):
        raise SystemExit(1)


def _run(console: Console, sales: SalesFile, file: Path) -> Report:
    settings = load_settings()
    log_to_stderr("import")
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    async def run(progress: Progress) -> Report:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done)

        async with open_kontor(settings, name="import") as kontor:
            return await import_sales(kontor, sales, advance)

    try:
        with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
            return uvloop.run(run(progress))
    except KeyboardInterrupt:
        console.print(f"Interrupted; nothing is lost or doubled. Go on with: kontor import {file} --live", markup=False)
        raise SystemExit(1) from None


def _planned(sales: SalesFile) -> Report:
    report = Report(left_out=list(sales.left_out), orders=len(sales.invoices), products=len(sales.products()))
    report.customers = len({invoice.customer for invoice in sales.invoices.values()})
    for invoice in sales.invoices.values():
        report.lines += len(invoice.lines)
        report.units += invoice.units
        report.revenue_minor += invoice.revenue_minor
    return report


def _document(report: Report) -> dict[str, Any]:
    reasons = Counter(each.reason for each in report.left_out)
    p50, p99 = report.delay_s(0.5), report.delay_s(0.99)
    return {
        "orders": report.orders,
        "orders_new": report.orders_new,
        "lines": report.lines,
        "units": report.units,
        "revenue": str(Decimal(report.revenue_minor).scaleb(-2)),
        "currency": "GBP",
        "products": report.products,
        "customers": report.customers,
        "orders_by_status": report.statuses,
        "orders_per_s": round(report.orders_per_s, 1),
        "commit_to_visible_ms": {
            "p50": round(p50 * 1000, 1) if p50 is not None else None,
            "p99": round(p99 * 1000, 1) if p99 is not None else None,
            "never": report.never_visible,
        },
        "left_out": dict(sorted(reasons.items())),
        "refused": reasons.get("refused as an order", 0),
    }


def _text(document: dict[str, Any], report: Report, live: bool) -> str:
    lines = [
        f"orders     {document['orders']:>10,}" + (f"  ({document['orders_new']:,} new)" if live else "  (to place)"),
        f"lines      {document['lines']:>10,}",
        f"units      {document['units']:>10,}",
        f"revenue    {Decimal(document['revenue']):>13,.2f} GBP",
        f"products   {document['products']:>10,}",
        f"customers  {document['customers']:>10,}",
    ]
    if live:
        delay = document["commit_to_visible_ms"]
        lines += [
            f"placed at  {document['orders_per_s']:>10,} orders/s",
            f"visible    p50 {delay['p50']} ms, p99 {delay['p99']} ms after commit, never {delay['never']}",
            "now        " + ", ".join(f"{count:,} {status}" for status, count in sorted(report.statuses.items())),
        ]
    lines.append(f"left out   {len(report.left_out):>10,} lines")
    for reason, count in document["left_out"].items():
        lines.append(f"  {count:>6,}  {reason}")
        examples = [each for each in report.left_out if each.reason == reason][:EXAMPLES_MAX]
        lines += [f"            line {each.line}, invoice {each.invoice}: {each.detail}" for each in examples]
    if not live:
        lines.append("Only checked: add --live to place the orders.")
    return "\n".join(lines)


def _write_left_out(path: Path, report: Report) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("line", "invoice", "reason", "detail"))
        writer.writerows((each.line, each.invoice, each.reason, each.detail) for each in report.left_out)
