"""What comes of a partition after it was passed over: what had been fetched before is known, and nothing else."""

from __future__ import annotations

from faust.types import TP, Message

from streams.skipping import PassedOver

TOPIC = "kontor.orders"


def fetched(offset: int, *, shard: int = 3, generation: int = 7) -> Message:
    """A record as Faust hands it on."""
    return Message(
        TOPIC,
        shard,
        offset,
        timestamp=0.0,
        timestamp_type=0,
        headers=None,
        key=b"",
        value=b"",
        checksum=None,
        tp=TP(TOPIC, shard),
        generation_id=generation,
    )


def passed() -> PassedOver:
    """With records up to 40 at hand, on with the one at 5,000."""
    passed_over = PassedOver()
    passed_over.add(fetched(40), 5_000)
    return passed_over


def test_what_was_fetched_before_is_passed_over_up_to_where_it_goes_on() -> None:
    passed_over = passed()
    assert [passed_over.has(fetched(offset)) for offset in (41, 42, 4_999, 5_000)] == [True, True, True, False]


def test_other_partitions_are_not_concerned() -> None:
    assert not passed().has(fetched(41, shard=4))


def test_a_partition_that_comes_back_at_an_older_offset_is_looked_at_anew() -> None:
    passed_over = passed()
    assert passed_over.has(fetched(41))
    assert not passed_over.has(fetched(42, generation=8))
    assert not passed_over.has(fetched(43))


def test_the_records_of_a_topic_that_was_made_anew_are_not_taken_for_old_ones() -> None:
    passed_over = passed()
    assert passed_over.has(fetched(3_000))
    assert not passed_over.has(fetched(100))
    assert not passed_over.has(fetched(3_001))


def test_it_can_be_passed_over_again() -> None:
    passed_over = passed()
    assert not passed_over.has(fetched(5_000))
    passed_over.add(fetched(5_000), 9_000)
    assert passed_over.has(fetched(5_001))
