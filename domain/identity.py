"""Ids: what is named by people gets a derived id, everything else a UUIDv7 made at the edge.

A derived id makes uniqueness a property of the log: two writers that add the same SKU append version 1
of the same stream, and the store lets one of them win.
"""

from __future__ import annotations

from binascii import crc32
from functools import lru_cache
from hashlib import sha1
from typing import Final, NewType
from uuid import UUID, uuid5

OrderId = NewType("OrderId", UUID)
ProductId = NewType("ProductId", UUID)
StockItemId = NewType("StockItemId", UUID)
UserId = NewType("UserId", UUID)
EmailClaimId = NewType("EmailClaimId", UUID)
PaymentId = NewType("PaymentId", UUID)
WebhookEndpointId = NewType("WebhookEndpointId", UUID)
CategoryId = NewType("CategoryId", UUID)
SlugClaimId = NewType("SlugClaimId", UUID)
NotificationId = NewType("NotificationId", UUID)

# Stored ids are derived from it: it may never change.
NAMESPACE: Final = UUID("6f1d2c3e-8a57-5b0e-9c64-2f7b1f0a4d11")

# The number of partitions of every topic, fixed for the life of a topic generation: changing it would
# move aggregates to other partitions and break their order.
SHARDS: Final = 12

IDS_CACHED: Final = 65_536  # an id costs a SHA-1, and an order of a thousand lines asks for thousands


@lru_cache(IDS_CACHED)
def product_id(sku: str) -> ProductId:
    """The one product that may carry this SKU."""
    return ProductId(uuid5(NAMESPACE, f"product:{sku}"))


@lru_cache(IDS_CACHED)
def stock_item_id(sku: str) -> StockItemId:
    """The one ledger of this SKU's stock."""
    return StockItemId(uuid5(NAMESPACE, f"stock:{sku}"))


def email_claim_id(digest: str) -> EmailClaimId:
    """The claim on one e-mail address, named by the keyed digest of the address, never by the address."""
    return EmailClaimId(uuid5(NAMESPACE, f"email:{digest}"))


def slug_claim_id(slug: str) -> SlugClaimId:
    """The claim on one slug, of whichever category has it now."""
    return SlugClaimId(uuid5(NAMESPACE, f"slug:{slug}"))


def payment_id(order_id: OrderId) -> PaymentId:
    """The one payment of this order."""
    return PaymentId(uuid5(NAMESPACE, f"payment:{order_id}"))


def notification_id(effect_id: UUID) -> NotificationId:
    """The one mail that this effect sends."""
    return NotificationId(uuid5(NAMESPACE, f"notification:{effect_id}"))


def request_in_period(subject_id: UUID, request: str, period: int) -> UUID:
    """The one request of this kind that counts in a period, numbered since 1970: a repeated request has the same id.
    Each kind of request has periods of one length."""
    return uuid5(subject_id, f"{request}:{period}")


def event_id(aggregate_id: UUID, version: int) -> UUID:
    """The public id of an event, stable for ever and the same on every road (CloudEvents `id`)."""
    return uuid5(aggregate_id, str(version))


def event_id_text(aggregate_id: UUID, version: int) -> str:
    """`str(event_id(...))`, in a quarter of its time."""
    digest = bytearray(sha1(aggregate_id.bytes + b"%d" % version, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # a UUID of version 5
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def shard_of(aggregate_id: UUID) -> int:
    """The partition, 0 to 11, of every topic in which this aggregate's events stand in order."""
    return crc32(aggregate_id.bytes) % SHARDS
