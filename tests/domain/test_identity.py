"""Ids: derived ones are stored, so the values here may never change."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity import (
    NAMESPACE,
    SHARDS,
    email_claim_id,
    event_id,
    event_id_text,
    product_id,
    shard_of,
    slug_claim_id,
    stock_item_id,
)


def test_derived_ids_are_those_that_were_stored() -> None:
    assert UUID("6f1d2c3e-8a57-5b0e-9c64-2f7b1f0a4d11") == NAMESPACE
    assert product_id("MUG") == UUID("d7a30cfc-861c-5fdf-bb33-2dcb6c5135f5")
    assert stock_item_id("MUG") == UUID("0d256ea4-6751-51cc-9d32-8d7d69dbda3c")
    assert email_claim_id("digest") == UUID("c9592bf0-208b-5343-8f18-fefc76c682cd")
    assert slug_claim_id("cups") == UUID("79cbb5f8-0282-51d0-a639-69db8a1473f6")
    assert event_id(UUID(int=1), 1) == UUID("c6ae59cd-4100-5d14-850d-f8202b722a98")
    assert event_id(UUID(int=1), 2) == UUID("8ff9f83c-0bdf-58d9-be4e-b11369508e29")


@pytest.mark.parametrize(("number", "shard"), [*enumerate([1, 7, 1, 11, 8, 6])])
def test_an_aggregate_stays_in_its_shard(number: int, shard: int) -> None:
    assert shard_of(UUID(int=number)) == shard


@pytest.mark.parametrize(("sku", "shards"), [("MUG", (5, 8)), ("CUP", (0, 3)), ("85123A", (5, 4))])
def test_products_and_their_stock_stay_in_their_shards(sku: str, shards: tuple[int, int]) -> None:
    assert (shard_of(product_id(sku)), shard_of(stock_item_id(sku))) == shards


def test_there_are_as_many_shards_as_partitions_were_made() -> None:
    assert SHARDS == 12
    assert {shard_of(UUID(int=number)) for number in range(1000)} == set(range(SHARDS))


@given(st.text(min_size=1), st.text(min_size=1))
def test_ids_are_equal_only_for_equal_names(one: str, other: str) -> None:
    assert (product_id(one) == product_id(other)) == (one == other)
    assert len({product_id(one), stock_item_id(one), email_claim_id(one)}) == 3


@given(st.uuids(), st.integers(1, 10**9))
def test_the_text_of_an_event_id_is_that_of_the_id(aggregate_id: UUID, version: int) -> None:
    assert event_id_text(aggregate_id, version) == str(event_id(aggregate_id, version))
