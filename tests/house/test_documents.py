"""What the documents say is there, and what they show can be run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from graphql import parse, validate

from adapters.settings import Settings
from api.graphql.schema import schema
from cli.sales_file import read_sales_file

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *RECORDS]
PATH = re.compile(
    r"\b(?:domain|commands|projections|adapters|streams|api|cli|tests|docs)/[\w./-]*\w\.(?:py|sql|md|graphql|lock)"
)
LINES_ON_A_SCREEN = 60


def readme() -> str:
    return (ROOT / "README.md").read_text()


def shown_requests() -> list[str]:
    """The GraphQL documents of the README's curl examples, as the shell would pass them."""
    single = re.findall(r"gql '(\{.*\})'", readme())
    double = [text.replace(r"\"", '"').replace(r"\\", "\\") for text in re.findall(r'gql "(\{.*\})"$', readme(), re.M)]
    return [json.loads(body.replace(r'\\"', r"\""))["query"] for body in single + double]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    named = set(PATH.findall(document.read_text()))
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_a_decision_fits_a_screen_and_names_the_test_that_enforces_it(record: Path) -> None:
    text = record.read_text()
    number = record.name[:4]
    assert text.startswith(f"# {number}: ")
    assert len(text.splitlines()) <= LINES_ON_A_SCREEN
    for part in ("**Decided.**", "**Why", "**What it costs.**", "**Where.**", "**Enforced by**"):
        assert part in text
    assert "tests/" in text.partition("**Enforced by**")[2]


def test_decisions_are_numbered_without_a_hole() -> None:
    numbers = [int(record.name[:4]) for record in RECORDS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_guarantee_says_what_it_does_not_cover_and_what_proves_it() -> None:
    promises = (ROOT / "docs" / "guarantees.md").read_text().split("\n## ")[1:]
    assert promises
    for promise in promises:
        assert "\nNot covered: " in promise, promise[:40]
        proofs = promise.partition("| proof | where |")[2].strip().splitlines()[1:]
        assert proofs, promise[:40]
        assert all("`tests/" in proof for proof in proofs), promise[:40]


def test_the_readme_has_every_setting() -> None:
    settings = {f"KONTOR_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in settings if f"`{name}`" not in readme()} == set()


def test_the_requests_that_the_readme_shows_fit_the_schema() -> None:
    requests = shown_requests()
    assert len(requests) == readme().count("gql '{") + readme().count('gql "{') > 5
    assert {request: validate(schema._schema, parse(request)) for request in requests} == {
        request: [] for request in requests
    }


def test_the_sales_that_the_readme_shows_can_be_imported(tmp_path: Path) -> None:
    (shown,) = re.findall(r"<<'CSV'\n(.*?)CSV\n", readme(), re.S)
    path = tmp_path / "sales.csv"
    path.write_text(shown)
    sales = read_sales_file(path)
    assert len(sales.invoices) == 2
    assert sales.left_out == []
