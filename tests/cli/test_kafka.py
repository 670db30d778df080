"""What the local broker is started with."""

from __future__ import annotations

from cli.stack.kafka import cluster_id


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    made = {cluster_id() for _ in range(3_000)}
    assert len(made) == 3_000
    assert {len(each) for each in made} == {22}
    assert [each for each in made if each.startswith("-")] == []
