"""`kontor views` as an operator runs it."""

from __future__ import annotations

import json

import pytest

from adapters.wiring import Kontor
from projections.inventory import STOCK
from tests.cli.given import kontor_beside
from tests.streams.test_chain import on_hand, receive
from tests.streams.test_rebuilding import follow, spoil

pytestmark = pytest.mark.servers


async def test_a_view_is_built_again_compared_read_and_taken_back(kontor: Kontor) -> None:
    settings = kontor.settings
    await receive(kontor, 5)
    await follow(kontor)
    await spoil(kontor)

    rebuilt = await kontor_beside(settings, "views", "rebuild", "stock")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "18 of 18 events" in rebuilt.stderr
    assert rebuilt.stdout.startswith("stock_v1_2 is filled and follows the log")
    listed = json.loads((await kontor_beside(settings, "views", "list", "--json")).stdout)
    assert [each for each in listed if each["view"] == "stock"] == [
        {"view": "stock", "table": "stock_v1", "state": "live", "behind": 0, "parked": 0},
        {"view": "stock", "table": "stock_v1_2", "state": "beside", "behind": 0, "parked": 0},
    ]

    different = await kontor_beside(settings, "views", "diff", "stock")
    assert different.returncode == 1
    assert "on_hand: 99 -> 5" in different.stdout
    assert different.stderr == "1 rows of stock differ.\n"

    promoted = await kontor_beside(settings, "views", "promote", "stock")
    assert (promoted.returncode, promoted.stdout) == (0, "stock_v1_2 is read now\n")
    await kontor.reads.generations.refresh()
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}
    taken_back = await kontor_beside(settings, "views", "rollback", "stock")
    assert (taken_back.returncode, taken_back.stdout) == (0, "stock_v1 is read now\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rebuild", "nothing"), "There is no view nothing; there are users, catalogue"),
        (("promote", "stock"), "No generation of stock is beside; `kontor views list` shows what there is."),
        (("rollback", "stock"), "No generation of stock is previous"),
        (("diff", "stock"), "Nothing waits beside stock; run `kontor views rebuild stock`."),
        (("drop", "stock"), "No generation of stock is being built or waits beside the live one."),
    ],
)
async def test_what_cannot_be_done_is_one_sentence(kontor: Kontor, arguments: tuple[str, str], sentence: str) -> None:
    answer = await kontor_beside(kontor.settings, "views", *arguments)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith(sentence), answer.stderr
    assert answer.stderr.count("\n") == 1


async def test_a_rebuild_that_nobody_wants_can_be_dropped(kontor: Kontor) -> None:
    await receive(kontor, 1)
    await follow(kontor)
    assert (await kontor_beside(kontor.settings, "views", "rebuild", "stock")).returncode == 0
    assert (await kontor_beside(kontor.settings, "views", "drop", "stock")).returncode == 0
    again = await kontor_beside(kontor.settings, "views", "rebuild", "stock")
    assert again.stdout.startswith("stock_v1_3 is filled")  # copies in Redis carry the number


async def test_promote_waits_for_one_that_is_behind_and_changes_nothing(kontor: Kontor) -> None:
    await receive(kontor, 1)
    await follow(kontor)
    assert (await kontor_beside(kontor.settings, "views", "rebuild", "stock")).returncode == 0
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE view_positions SET position = position - 1 WHERE view = 'stock_v1_2'")
    answer = await kontor_beside(kontor.settings, "views", "promote", "stock", "--wait", "0.5")
    assert answer.returncode == 1
    assert "is not as far as the one that is read" in answer.stderr
    await kontor.reads.generations.refresh()
    assert kontor.reads.generations.live(STOCK) == STOCK
