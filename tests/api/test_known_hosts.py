"""A page of another site that gives its own name the address of this machine reads nothing."""

from __future__ import annotations

from typing import Any

import pytest

from api.app import create_app

EVIL = "shop.attacker.example:8000"


async def asked(app: Any, *hosts: str, kind: str = "http", path: str = "/healthz") -> list[dict[str, Any]]:
    """What the application sends to a request with these Host headers."""
    sent: list[dict[str, Any]] = []
    given = [{"type": "http.request", "body": b""}, {"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        return given[0] if kind == "http" else given[1]

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    scope = {
        "type": kind, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers,
        "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1), "state": {},
        "subprotocols": [],
    }  # fmt: skip
    await app(scope, receive, send)
    return sent


def api(environment: str, **options: Any) -> Any:
    app = create_app(lambda: None, environment=environment, **options)  # type: ignore[arg-type,return-value]
    app.first_look = None  # it asks what is opened, and nothing is
    return app


async def status(app: Any, *hosts: str, **more: Any) -> int:
    return int((await asked(app, *hosts, **more))[0]["status"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost:8000", "localhost", "LocalHost", "[::1]:8000", "127.9.9.9"]
)
async def test_development_answers_to_the_names_of_this_machine(host: str) -> None:
    assert await status(api("development"), host) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        (EVIL,),
        ("localhost.attacker.example",),
        ("localhost.",),
        ("127.0.0.1.attacker.example",),
        ("127.0.0.1@attacker.example",),
        ("[::1].attacker.example",),
        ("[",),
        ("10.0.0.7:8000",),
        ("",),
        (),
        ("127.0.0.1", EVIL),
        ("l\xf6calhost",),
        ("a" * 100_000,),
    ],
    ids=range(13),
)
async def test_development_answers_to_no_other_name(hosts: tuple[str, ...]) -> None:
    assert await status(api("development"), *hosts) == 421


@pytest.mark.parametrize("path", ["/graphql", "/v1/commands", "/openapi.json", "/docs", "/metrics", "/readyz"])
async def test_nothing_is_served_to_an_unknown_name(path: str) -> None:
    assert await status(api("development"), EVIL, path=path) == 421


async def test_a_socket_is_not_opened_for_an_unknown_name() -> None:
    (answer,) = await asked(api("development"), EVIL, kind="websocket", path="/graphql")
    assert answer["type"] == "websocket.close"


async def test_a_name_that_is_given_is_known() -> None:
    assert await status(api("development", hosts=("api",)), "API:8000") == 200
    assert await status(api("development", hosts=("api",)), EVIL) == 421


async def test_production_is_asked_by_any_name_unless_names_are_given() -> None:
    assert await status(api("production"), "shop.example") == 200
    assert await status(api("production", hosts=("shop.example",)), "shop.example") == 200
    assert await status(api("production", hosts=("shop.example",)), EVIL) == 421
