"""A file of sale lines (InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country)
read into orders to place. Pure but for reading the file.

Every line with a positive quantity and price is sold; every other line is left out with a reason, none silently.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from domain.catalogue import NAME_LENGTH_MAX, valid_sku
from domain.errors import Invalid
from domain.money import Money
from domain.quantity import valid_quantity

COLUMNS: Final = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
CURRENCY: Final = "GBP"
DATE_FORMATS: Final = ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")

CANCELLATION: Final = "cancellation"
WRITE_OFF: Final = "stock write-off (quantity not positive)"
PRICE_ZERO: Final = "price zero"
PRICE_NEGATIVE: Final = "price negative"
UNREADABLE: Final = "unreadable"
REFUSED: Final = "refused as an order"


class NotASalesFile(Exception):
    """The file cannot be read as one; the message says why and what is expected."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A line of the file that is not sold. `line` counts from 1, the header being line 1."""

    line: int
    invoice: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class SaleLine:
    line: int
    sku: str
    name: str
    quantity: int
    unit_price: Money
    sold_at: datetime
    customer: str | None


@dataclass(slots=True)
class Invoice:
    """One order to place: at the time of its earliest line, for the first customer named in it."""

    number: str
    lines: list[SaleLine] = field(default_factory=list)

    @property
    def customer(self) -> str | None:
        return next((line.customer for line in self.lines if line.customer), None)

    @property
    def placed_at(self) -> datetime:
        return min(line.sold_at for line in self.lines)

    @property
    def units(self) -> int:
        return sum(line.quantity for line in self.lines)

    @property
    def revenue_minor(self) -> int:
        return sum(line.unit_price.times(line.quantity).minor for line in self.lines)


@dataclass(slots=True)
class SalesFile:
    """What the file holds. `digest` is of its content uncompressed, so that a repacked file is the same file."""

    digest: str
    invoices: dict[str, Invoice] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def products(self) -> dict[str, tuple[str, Money]]:
        """SKU to its commonest name and price; descriptions and prices of one SKU differ in real files."""
        names: dict[str, Counter[str]] = {}
        prices: dict[str, Counter[Money]] = {}
        for invoice in self.invoices.values():
            for line in invoice.lines:
                names.setdefault(line.sku, Counter())[line.name] += 1
                prices.setdefault(line.sku, Counter())[line.unit_price] += 1
        return {sku: (names[sku].most_common(1)[0][0], prices[sku].most_common(1)[0][0]) for sku in names}

    def units_by_sku(self) -> dict[str, int]:
        """How many units of each SKU the orders need."""
        units: Counter[str] = Counter()
        for invoice in self.invoices.values():
            for line in invoice.lines:
                units[line.sku] += line.quantity
        return dict(units)


def read_sales_file(path: Path) -> SalesFile:
    """Read a CSV file, plain or gzip, UTF-8 or Windows-1252. Raises NotASalesFile."""
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise NotASalesFile(
            f"{path.name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"a sales file has {', '.join(COLUMNS)}."
        )
    sales = SalesFile(hashlib.sha256(content).hexdigest())
    for number, row in enumerate(rows, 2):
        invoice = (row["InvoiceNo"] or "").strip()
        read = _sale_line(number, invoice, row)
        if isinstance(read, LeftOut):
            sales.left_out.append(read)
        else:
            sales.invoices.setdefault(invoice, Invoice(invoice)).lines.append(read)
    return sales


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise NotASalesFile(f"{path} cannot be read: {error}.") from error


def _sale_line(number: int, invoice: str, row: dict[str, str | None]) -> SaleLine | LeftOut:
    def left_out(reason: str, detail: str) -> LeftOut:
        return LeftOut(number, invoice, reason, detail)

    try:
        quantity = int(Decimal(row["Quantity"] or ""))
        price = Decimal(row["UnitPrice"] or "")
    except (InvalidOperation, ValueError, OverflowError):
        return left_out(UNREADABLE, f"quantity {row['Quantity']!r}, price {row['UnitPrice']!r}")
    if quantity <= 0:
        return left_out(CANCELLATION if invoice.upper().startswith("C") else WRITE_OFF, f"quantity {quantity}")
    if not price > 0:
        return left_out(PRICE_ZERO if price == 0 else PRICE_NEGATIVE, f"price {price}")
    try:
        if not invoice:
            raise Invalid("no invoice number")
        sku = valid_sku(row["StockCode"] or "")
        return SaleLine(
            line=number,
            sku=sku,
            name=_name(row["Description"] or "") or sku,
            quantity=valid_quantity(quantity),
            unit_price=Money.of(price, CURRENCY),
            sold_at=_moment(row["InvoiceDate"] or ""),
            customer=(row["CustomerID"] or "").strip().removesuffix(".0") or None,
        )
    except Invalid as error:
        return left_out(UNREADABLE, error.message)


def _name(description: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in description)
    return " ".join(printable.split())[:NAME_LENGTH_MAX]


def _moment(text: str) -> datetime:
    """The time as written, taken as UTC. Raises Invalid."""
    for pattern in DATE_FORMATS:
        try:
            return datetime.strptime(text.strip(), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise Invalid(f"date {text!r} is not like 01/12/2010 08:26")
