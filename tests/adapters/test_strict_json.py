"""JSON from outside: what is taken, and what is refused with which reason."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
import pytest

from adapters.strict_json import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, NotStrictJson, decoded, decoded_as

BYTES_MAX = 1_000_000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}", "nested deeper"),
        (b'{"a":1,"a":2}', "a name twice"),
        (b'{"b":[{"a":1,"c":":","a" : 2}]}', "a name twice"),
        (b'{"a":1,"\\u0061":2}', "a name twice"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":Infinity}', "not JSON"),
        (b'{"a":1e999}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":18446744073709551616}', "64 bits"),
        (b'{"a":[-9223372036854775809]}', "64 bits"),
        (b'{"a":' + b"9" * 5_000 + b"}", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not an object"),
        (b"7", "not an object"),
        (b"null", "not an object"),
        (b'{"a":"' + b"x" * BYTES_MAX + b'"}', "bytes"),
    ],
)
def test_what_is_not_strict_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(NotStrictJson, match=reason) as refused:
        decoded(body, bytes_max=BYTES_MAX)
    assert len(str(refused.value)) < 300


def test_at_the_bounds_it_is_taken() -> None:
    deepest = b'{"a":' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b"}"
    assert len(decoded(deepest, bytes_max=len(deepest))) == 1
    assert decoded(f'{{"a":{INTEGER_MAX},"b":{INTEGER_MIN}}}', bytes_max=100) == {"a": INTEGER_MAX, "b": INTEGER_MIN}


def test_a_shape_that_is_another_is_refused() -> None:
    class Told(msgspec.Struct):
        name: str

    assert decoded_as(Told, b'{"name":"a","more":1}', bytes_max=100).name == "a"
    with pytest.raises(NotStrictJson, match="another shape"):
        decoded_as(Told, b'{"name":1}', bytes_max=100)


def test_it_reads_what_the_standard_library_reads_and_knows_every_name_that_is_there_twice() -> None:
    chance = Random(15)
    seen = set()
    for _ in range(20_000):
        text = f'{{"x":{made(chance, 4)}}}'
        try:
            expected: Any = json.loads(text, object_pairs_hook=once)
        except KeyError:
            expected = None
        if expected is None:
            with pytest.raises(NotStrictJson, match="a name twice"):
                decoded(text, bytes_max=BYTES_MAX)
        else:
            assert decoded(text, bytes_max=BYTES_MAX) == expected, text
        seen.add(expected is None)
    assert seen == {True, False}


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise KeyError
    return found


def made(chance: Random, depth: int) -> str:
    """JSON with all that names and texts can be mistaken for."""

    def space() -> str:
        return chance.choice(["", "", " ", "\n", "\t"])

    def text() -> str:
        letters = "".join(chance.choice('ab":\\{}[],\n é') for _ in range(chance.randint(0, 4)))
        return json.dumps(letters, ensure_ascii=chance.random() < 0.5)

    kind = chance.random()
    if depth == 0 or kind < 0.3:
        return chance.choice([text(), "1", "null", "true", "-0.5"])
    count = range(chance.randint(0, 3))
    if kind < 0.6:
        return "[" + ",".join(made(chance, depth - 1) for _ in count) + "]"
    return "{" + ",".join(f"{space()}{text()}{space()}:{space()}{made(chance, depth - 1)}" for _ in count) + "}"
