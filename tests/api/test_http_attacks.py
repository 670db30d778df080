"""Requests that are sent to hurt below GraphQL: from pages of other sites, too large, too slow, compressed."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import aiohttp
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from api import body_limit, http_protocol
from api.answer_headers import AnswerHeaders
from api.body_limit import BODY_BYTES_MAX
from api.http_protocol import HEAD_BYTES_MAX, HEADERS_MAX
from domain.users import Role
from tests.api.served import Served, served
from tests.conftest import Stack, installation_on

SHOP = "https://shop.example"
EVIL = "https://evil.example"
ME = json.dumps({"query": "{ me { id } }"})
SIGN_OUT = json.dumps({"query": "mutation { signOut { ok } }"})
COMMAND = "/v1/commands/request-password-reset"
BOUNDARY = '--b\r\nContent-Disposition: form-data; name="operations"\r\n\r\n' + SIGN_OUT + "\r\n--b--\r\n"


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Served]:
    async with (
        installation_on(stack) as settings,
        served(settings, environment="production", allowed_origins=SHOP) as running,
    ):
        yield running


@pytest.mark.servers
@pytest.mark.parametrize("path", ["/graphql", COMMAND])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", SIGN_OUT),
        ("multipart/form-data; boundary=b", BOUNDARY),
        ("application/x-www-form-urlencoded", "query=mutation{signOut{ok}}"),
        ("application/jsonp", SIGN_OUT),
        ("", SIGN_OUT),
    ],
)
async def test_only_json_is_read(api: Served, path: str, kind: str, body: str) -> None:
    status, _, answer = await api.post(path, body, {"Content-Type": kind})
    assert (status, answer["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.servers
async def test_json_may_say_its_charset(api: Served) -> None:
    status, _, _ = await api.post("/graphql", ME, {"Content-Type": "application/json; charset=utf-8"})
    assert status == 200


@pytest.mark.servers
@pytest.mark.parametrize("path", ["/graphql", COMMAND])
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://shop.example", f"{SHOP}.evil.example", "http://[", f"{SHOP}:8443"],
)
async def test_pages_of_other_sites_do_nothing(api: Served, path: str, origin: str) -> None:
    status, headers, _ = await api.post(path, SIGN_OUT, {"Origin": origin})
    assert status == 403
    assert "access-control-allow-origin" not in headers


@pytest.mark.servers
async def test_pages_of_the_list_and_of_this_host_are_served(api: Served) -> None:
    status, headers, _ = await api.post("/graphql", ME, {"Origin": SHOP})
    assert (status, headers["access-control-allow-origin"]) == (200, SHOP)
    assert "access-control-allow-credentials" not in headers
    status, headers, _ = await api.post("/graphql", ME, {"Origin": api.url})
    assert (status, headers.get("access-control-allow-origin")) == (200, None)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("origin", "asked_for", "status"),
    [
        (SHOP, "authorization,content-type", 200),
        (SHOP, "x-anything", 400),
        ("https://evil.example", "content-type", 400),
    ],
)
async def test_a_browser_is_told_what_pages_may_send(api: Served, origin: str, asked_for: str, status: int) -> None:
    asked = {
        "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked_for
    }  # fmt: skip
    async with api.http.options(f"{api.url}/graphql", headers=asked) as answer:
        assert answer.status == status
        assert answer.headers.get("access-control-allow-origin") in (SHOP, None)


@pytest.mark.servers
@pytest.mark.parametrize("document", ["mutation{signOut{ok}}", "{me{id}}"])
async def test_nothing_is_done_or_read_by_a_link(api: Served, document: str) -> None:
    async with api.http.get(f"{api.url}/graphql", params={"query": document}) as answer:
        assert 400 <= answer.status < 500


@pytest.mark.servers
async def test_production_has_no_page_for_trying_out(api: Served) -> None:
    for path in ("/graphql", "/docs", "/openapi.json", "/redoc"):
        async with api.http.get(api.url + path, headers={"Accept": "text/html"}) as answer:
            assert answer.status in (404, 405), path


@pytest.mark.servers
@pytest.mark.parametrize("path", ["/healthz", "/graphql", "/nothing", "/v1/commands/nothing", "/metrics"])
async def test_every_answer_tells_browsers_to_be_careful(api: Served, path: str) -> None:
    async with api.http.get(api.url + path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers  # this is no https
    assert "server" not in headers


@pytest.mark.servers
async def test_a_refusal_has_these_headers_too(api: Served) -> None:
    for sent in ({"Content-Type": "text/plain"}, {"Origin": EVIL}):
        _, headers, _ = await api.post("/graphql", ME, sent)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Request-Id"]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("sent", "kept"),
    [("order-4711.retry_2", True), (str(UUID(int=7)), True), ("short", False), ("x" * 65, False),
     ("a b c d e f", False), ("<script>alert()", False), ("\u00e9" * 10, False)],
)  # fmt: skip
async def test_a_sane_request_id_is_kept_and_any_other_replaced(api: Served, sent: str, kept: bool) -> None:
    _, headers, _ = await api.post("/graphql", ME, {"X-Request-Id": sent})
    if kept:
        assert headers["X-Request-Id"] == sent
    else:
        UUID(headers["X-Request-Id"])


@pytest.mark.servers
async def test_what_follows_from_a_request_has_its_id_unless_a_stranger_chose_it(api: Served) -> None:
    assert await correlation(api, {}) == (True, None)
    chosen = str(uuid4())
    same, kept = await correlation(api, {"X-Request-Id": chosen})
    assert (same, kept) == (False, chosen)
    same, _ = await correlation(api, {"X-Request-Id": chosen, "X-Forwarded-For": "127.0.0.1"})
    assert not same


@pytest.mark.servers
async def test_a_proxy_that_is_trusted_names_what_follows_from_a_request(stack: Stack) -> None:
    async with installation_on(stack) as settings, served(settings, trusted_proxies="127.0.0.0/8") as api:
        chosen = str(uuid4())
        headers = {"X-Request-Id": chosen, "X-Forwarded-For": "192.0.2.1"}
        assert await correlation(api, headers) == (True, chosen)


async def correlation(api: Served, headers: dict[str, str]) -> tuple[bool, str | None]:
    """Has what followed from a command, over both doors, the id that the answer tells? And the id, if it was sent."""
    found = []
    token = {"Authorization": f"Bearer {api.token(uuid4(), Role.STAFF)}"}
    price = {"amount": "1", "currency": "GBP"}
    document = """mutation($sku: String!) { addProduct(input: {sku: $sku, name: "a",
      price: {amount: "1", currency: "GBP"}}) { product { history { correlationId } } } }"""
    body = json.dumps({"query": document, "variables": {"sku": uuid4().hex}})
    _, told, answer = await api.post("/graphql", body, headers | token)
    ((event),) = answer["data"]["addProduct"]["product"]["history"]
    found.append((event["correlationId"] == told["X-Request-Id"], told["X-Request-Id"]))
    given = json.dumps({"sku": uuid4().hex, "name": "a", "price": price})
    _, told, receipt = await api.post("/v1/commands/add-product", given, headers | token)
    (record,) = await api.kontor.log.of_aggregate(UUID(receipt["aggregateId"]), limit=1)
    found.append((str(record.correlation_id) == told["X-Request-Id"], told["X-Request-Id"]))
    assert len({same for same, _ in found}) == 1, found
    return found[0][0], headers.get("X-Request-Id") and found[0][1]


@pytest.mark.servers
@pytest.mark.parametrize("path", ["/graphql", "/v1/commands", "/v1/commands/no", "/healthz", "/readyz", "/nowhere"])
async def test_no_answer_is_kept_by_anybody_unless_it_says_otherwise(api: Served, path: str) -> None:
    for asked in (api.http.get(api.url + path), api.http.post(api.url + path, data=b"{")):
        async with asked as answer:
            assert answer.headers["Cache-Control"] == "no-store", (path, answer.status)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with api.http.get(f"{api.url}/.well-known/jwks.json") as answer:
        assert answer.headers["Cache-Control"].startswith("public")


@pytest.mark.servers
@pytest.mark.parametrize("path", ["/graphql", "/v1/commands/add-product"])
@pytest.mark.parametrize(
    ("body", "reason"),
    [("[" * 100_000, "nested"), ('{"a":1,"a":2}', "twice"), ('{"a":' + "9" * 30 + "}", "64 bits"), ("[1]", "object")],
)
async def test_a_body_that_is_no_strict_json_is_refused_alike_at_every_door(
    api: Served, path: str, body: str, reason: str
) -> None:
    status, headers, told = await api.post(path, body, {"Authorization": f"Bearer {api.token(uuid4(), Role.STAFF)}"})
    assert (status, headers["Content-Type"], told["code"]) == (400, "application/problem+json", "BAD_REQUEST")
    assert reason in told["detail"] == told["errors"][0]["message"]


async def test_the_log_has_the_id_and_https_answers_insist_on_it() -> None:
    seen, sent = [], []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(structlog.contextvars.get_contextvars()["request_id"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {}

    scope = {"type": "http", "scheme": "https", "headers": [(b"x-request-id", b"12345678")]}
    await AnswerHeaders(inner)(scope, receive, send)
    assert seen == ["12345678"]
    headers = dict(sent[0]["headers"])
    assert headers[b"strict-transport-security"].startswith(b"max-age=")
    assert headers[b"x-request-id"] == b"12345678"
    assert "request_id" not in structlog.contextvars.get_contextvars()


@pytest.mark.servers
async def test_bodies_are_bounded_and_never_unpacked(api: Served) -> None:
    status, _, answer = await api.post("/graphql", b" " * (BODY_BYTES_MAX + 1))
    assert (status, answer["code"]) == (413, "TOO_LARGE")
    bomb = gzip.compress(b" " * 50_000_000)
    status, _, answer = await api.post("/graphql", bomb, {"Content-Encoding": "gzip"})
    assert (status, answer["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.servers
async def test_who_sends_too_much_can_send_it_and_read_why_not(api: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    writer.write(head.format(BODY_BYTES_MAX + 1).encode())
    assert (await reader.readline()).split(b" ")[1] == b"413"
    for _ in range(64):
        writer.write(b" " * (BODY_BYTES_MAX // 64))
        await writer.drain()
    writer.write(b" ")
    assert b"split it" in await reader.read()
    writer.close()


async def raw(api: Served, *parts: bytes) -> bytes:
    """What the server says to these bytes until it closes, a minute at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    told = b""
    try:
        async with asyncio.timeout(60):
            for part in parts:
                writer.write(part)
                await writer.drain()
            while more := await reader.read(65_536):
                told += more
    except ConnectionError:  # it does not read what it has refused
        pass
    finally:
        writer.close()
    return told.partition(b"\r\n")[0]


HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.servers
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([HEAD + b"\r\n"], b"200"),
        ([HEAD + b"a: b\r\n" * (HEADERS_MAX - 2) + b"\r\n"], b"200"),
        ([HEAD + b"a: b\r\n" * (HEADERS_MAX - 1) + b"\r\n"], b"431"),
        ([HEAD, *[b"a: b\r\n" * 1_000] * 100], b"431"),
        ([HEAD + b"a: " + b"x" * (HEAD_BYTES_MAX - 200) + b"\r\n\r\n"], b"200"),
        ([HEAD + b"a: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n"], b"431"),
        ([HEAD + b"a: ", *[b"x" * 8_192] * 64], b"431"),
        ([b"GET /" + b"x" * 2 * HEAD_BYTES_MAX], b"431"),
        ([b"GET / HTTP/1.1\r\nHost: a\r\nb\x00: c\r\n\r\n"], b"400"),
        ([b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"], b"400"),
    ],
    ids="fits|many|too many|hundred thousand|long|too long|endless|address|name|smuggled".split("|"),
)
async def test_the_head_of_a_request_is_bounded(api: Served, parts: list[bytes], status: bytes) -> None:
    line = await raw(api, *parts)
    assert line.split(b" ")[1:2] == [status], line


@pytest.mark.servers
async def test_who_does_not_finish_a_request_is_not_waited_for(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S_MAX", 0.3)
    monkeypatch.setattr(body_limit, "BODY_S_MAX", 0.3)
    half_body = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    lines = await asyncio.gather(raw(api, HEAD), raw(api), raw(api, half_body))
    assert [line.split(b" ")[1] for line in lines] == [b"408"] * 3


@pytest.mark.servers
async def test_a_connection_serves_many_requests(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are of one head, not of a connection."""
    monkeypatch.setattr(http_protocol, "HEAD_S_MAX", 2.0)
    token = api.token(uuid4(), Role.CUSTOMER)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
        for _ in range(50):
            headers = {"Authorization": f"Bearer {token}", "X-Long": "x" * 4_000, "Content-Type": "application/json"}
            async with http.post(f"{api.url}/graphql", data=ME, headers=headers) as answer:
                assert answer.status == 200
            await asyncio.sleep(0.05)
