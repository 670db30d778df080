"""Reading a file of sales: what is sold, what is left out and why; against an independent sum over the real file."""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from cli.sales_file import NotASalesFile, read_sales_file
from tests.conftest import SALES

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def sales_of(tmp_path: Path, *lines: str, encoding: str = "utf-8", pack: bool = False):
    content = (HEADER + "\n".join(lines) + "\n").encode(encoding)
    path = tmp_path / "sales.csv"
    path.write_bytes(gzip.compress(content) if pack else content)
    return read_sales_file(path)


def test_lines_of_one_invoice_become_one_order(tmp_path: Path) -> None:
    sales = sales_of(
        tmp_path,
        "1,A,Apple,2,01/12/2010 08:26,2.55,17850,United Kingdom",
        "2,A,Apple,1,02/12/2010 09:00,2.55,,France",
        "1,B,Bread,1,01/12/2010 08:26,1.5,17850,United Kingdom",
    )
    assert {number: (len(i.lines), i.units, i.revenue_minor, i.customer) for number, i in sales.invoices.items()} == {
        "1": (2, 3, 660, "17850"),
        "2": (1, 1, 255, None),
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("C1,A,Apple,-2,01/12/2010 08:26,2.55,17850,x", "cancellation"),
        ("1,A,Apple,-2,01/12/2010 08:26,2.55,17850,x", "stock write-off (quantity not positive)"),
        ("1,A,Apple,2,01/12/2010 08:26,0,17850,x", "price zero"),
        ("1,A,Apple,2,01/12/2010 08:26,-11062.06,17850,x", "price negative"),
        ("1,A,Apple,two,01/12/2010 08:26,2.55,17850,x", "unreadable"),
        ("1,A,Apple,2,31/31/2010 08:26,2.55,17850,x", "unreadable"),
        ("1,,Apple,2,01/12/2010 08:26,2.55,17850,x", "unreadable"),
        (",A,Apple,2,01/12/2010 08:26,2.55,17850,x", "unreadable"),
        ("1,A,Apple,2,01/12/2010 08:26,0.001,17850,x", "unreadable"),
    ],
)
def test_what_cannot_be_sold_is_left_out_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    sales = sales_of(tmp_path, line)
    assert not sales.invoices
    assert [(each.line, each.reason) for each in sales.left_out] == [(2, reason)]


def test_a_packed_file_is_the_same_file(tmp_path: Path) -> None:
    line = "1,A,Apple,2,01/12/2010 08:26,2.55,17850,x"
    assert sales_of(tmp_path, line).digest == sales_of(tmp_path, line, pack=True).digest


def test_a_file_of_an_old_windows_program_is_read(tmp_path: Path) -> None:
    sales = sales_of(tmp_path, "1,A,CAFÉ £5 TIN,2,01/12/2010 08:26,2.55,17850.0,x", encoding="cp1252")
    (invoice,) = sales.invoices.values()
    assert (invoice.lines[0].name, invoice.customer) == ("CAFÉ £5 TIN", "17850")


def test_a_file_without_the_columns_says_which(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("InvoiceNo,StockCode\n1,A\n")
    with pytest.raises(NotASalesFile, match="lacks the columns Description, Quantity"):
        read_sales_file(path)
    with pytest.raises(NotASalesFile, match="cannot be read"):
        read_sales_file(tmp_path / "absent.csv")


def test_the_commonest_name_and_price_stand_for_a_sku(tmp_path: Path) -> None:
    sales = sales_of(
        tmp_path,
        *(
            f"{n},A,{name},1,01/12/2010 08:26,{price},,x"
            for n, (name, price) in enumerate([("x", 1), ("y", 2), ("y", 2)])
        ),
    )
    name, price = sales.products()["A"]
    assert (name, price.minor) == ("y", 200)


def first_days_of_the_real_file(path: Path, days: int) -> str:
    """Its text up to the end of so many days on which something was sold, which is also written there."""
    rows = gzip.decompress(SALES.read_bytes()).decode().splitlines(keepends=True)
    wanted = list(dict.fromkeys(row["InvoiceDate"].split(" ")[0] for row in csv.DictReader(rows)))[:days]
    text = "".join(line for line in rows if line in rows[:1] or any(f",{day} " in line for day in wanted))
    path.write_text(text)
    return text


def independent_sums(text: str) -> tuple[int, int, int, Decimal, dict[str, tuple[int, int, Decimal]]]:
    """Lines, invoices, units, revenue, and per day orders, units, revenue: by another road than the importer's."""
    days: dict[str, list] = defaultdict(lambda: [set(), 0, Decimal(0)])
    lines, invoices, units, revenue = 0, set(), 0, Decimal(0)
    for row in csv.DictReader(io.StringIO(text)):
        quantity, price = int(row["Quantity"]), Decimal(row["UnitPrice"])
        if quantity > 0 and price > 0:
            lines, units, revenue = lines + 1, units + quantity, revenue + quantity * price
            invoices.add(row["InvoiceNo"])
            day, month, year = row["InvoiceDate"].split(" ")[0].split("/")
            sums = days[f"{year}-{month}-{day}"]
            sums[0].add(row["InvoiceNo"])
            sums[1] += quantity
            sums[2] += quantity * price
    return lines, len(invoices), units, revenue, {day: (len(s[0]), s[1], s[2]) for day, s in days.items()}


@pytest.mark.skipif(not SALES.exists(), reason="the shared sales file is not here")
def test_the_real_file_is_read_to_the_penny() -> None:
    lines, invoices, units, revenue, _ = independent_sums(gzip.decompress(SALES.read_bytes()).decode())
    sales = read_sales_file(SALES)
    assert (lines, invoices, units, revenue) == (28_399, 1_025, 230_386, Decimal("553371.35"))
    assert sum(len(invoice.lines) for invoice in sales.invoices.values()) == lines
    assert len(sales.invoices) == invoices
    assert sum(invoice.units for invoice in sales.invoices.values()) == units
    assert sum(invoice.revenue_minor for invoice in sales.invoices.values()) == revenue * 100
    assert len(sales.left_out) + lines == 29_015
