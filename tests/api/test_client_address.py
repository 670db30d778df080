"""Where a request comes from, when proxies stand between."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from adapters.settings import Settings
from api.client_address import HOPS_MAX, UNKNOWN, client_address, networks

TRUSTED = networks("10.0.0.0/8, 127.0.0.1, fd00::/8")


def request(peer: str | None, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return Request({"type": "http", "headers": headers, "client": (peer, 5) if peer is not None else None})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # nobody we know says so
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.1.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # what the client wrote itself stands before it
        ("10.1.1.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1, 10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", ["nonsense"], "10.1.1.1"),
        ("10.1.1.1", ["6.6.6.6, nonsense, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("127.0.0.1", ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64"),
        ("10.1.1.1", [", ".join(["6.6.6.6", *["10.0.0.9"] * HOPS_MAX])], "10.0.0.9"),
        (None, ["198.51.100.1"], UNKNOWN),
        ("testclient", ["198.51.100.1"], UNKNOWN),
    ],
)
def test_only_proxies_that_are_trusted_say_where_a_request_comes_from(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_address(request(peer, *forwarded), TRUSTED) == address


def test_by_default_nobody_is_trusted() -> None:
    assert networks(Settings.model_fields["trusted_proxies"].default) == ()
    assert client_address(request("127.0.0.1", "198.51.100.1"), ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "10.0.0.1/8"])
def test_a_setting_that_names_no_networks_is_refused(text: str) -> None:
    given = dict.fromkeys(("postgres_url", "kafka_url", "redis_url", "master_key", "jwt_key"), "x")
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(**given, trusted_proxies=text)  # type: ignore[arg-type]  # texts, as in the environment
