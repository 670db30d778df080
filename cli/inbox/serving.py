"""The inbox's two doors: SMTP to put mails in, HTTP to look at them.

What a mail holds is never trusted: its HTML is shown in a frame without scripts, forms, pictures from elsewhere or the
page's own rights. A page of another site, whatever name it gives itself, gets nothing: links in mails are keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiosmtpd.smtp import SMTP
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cli.inbox.folder import KeptMail, MailFolder

MAIL_BYTES_MAX: Final = 1024 * 1024
SMTP_IDLE_S: Final = 60.0
COMMANDS_MAX: Final = 1_000  # of one kind in one connection
# What a page may be called: the names of this machine. A name that leads here from elsewhere is not answered.
NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_PAGES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, auto_reload=False
)
_OF_THE_PAGE: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'none'"
_OF_A_MAIL: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
_FOLDER: Final = web.AppKey("folder", MailFolder)


class Taking:
    """What the SMTP server does with a mail: it keeps it, whoever it is for."""

    def __init__(self, folder: MailFolder) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        """The answer to a mail that has come whole."""
        try:
            await asyncio.to_thread(self._folder.keep, envelope.original_content)
        except OSError as error:
            return f"452 4.3.1 it cannot be kept: {error.strerror}"
        return "250 2.0.0 kept"


@asynccontextmanager
async def serving(folder: MailFolder, *, host: str, smtp_port: int, http_port: int) -> AsyncIterator[tuple[int, int]]:
    """Both doors open; yields their ports (a port of 0 is chosen). Raises OSError for a port that is taken."""

    def smtp() -> SMTP:
        return SMTP(
            Taking(folder),
            data_size_limit=MAIL_BYTES_MAX,
            enable_SMTPUTF8=True,
            hostname="localhost",
            timeout=SMTP_IDLE_S,
            command_call_limit=COMMANDS_MAX,
        )

    taking = await asyncio.get_running_loop().create_server(smtp, host, smtp_port)
    runner = web.AppRunner(application(folder), access_log=None)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, http_port)
        await site.start()
        yield taking.sockets[0].getsockname()[1], runner.addresses[0][1]
    finally:
        taking.close()
        await runner.cleanup()


def application(folder: MailFolder) -> web.Application:
    """The pages."""
    app = web.Application(middlewares=[_of_this_machine])
    app[_FOLDER] = folder
    app.router.add_get("/", _listed)
    app.router.add_get("/mails", _told)
    app.router.add_get("/mails/{id}", _shown)
    app.router.add_get("/mails/{id}/html", _html)
    app.router.add_get("/mails/{id}/source", _source)
    return app


@web.middleware
async def _of_this_machine(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    host = request.host if request.host.endswith("]") else request.host.rpartition(":")[0] or request.host
    if host not in NAMES:
        raise web.HTTPMisdirectedRequest(text="The inbox is for this machine: ask for it as 127.0.0.1 or localhost.\n")
    answer = await handler(request)
    answer.headers.setdefault("Content-Security-Policy", _OF_THE_PAGE)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _listed(request: web.Request) -> web.Response:
    return _page(mails=await asyncio.to_thread(_all, request), mail=None)


async def _told(request: web.Request) -> web.Response:
    """Every mail, the newest first, or with `?to=` those to one address."""
    wanted = request.query.get("to")
    mails = await asyncio.to_thread(_all, request)
    return web.json_response([mail.as_object() for mail in mails if wanted is None or wanted in mail.to])


async def _shown(request: web.Request) -> web.Response:
    return _page(mails=[], mail=_wanted(request))


async def _html(request: web.Request) -> web.Response:
    answer = web.Response(text=_wanted(request).html, content_type="text/html")
    answer.headers["Content-Security-Policy"] = _OF_A_MAIL
    return answer


async def _source(request: web.Request) -> web.Response:
    source = request.app[_FOLDER].source(request.match_info["id"])
    if source is None:
        raise _gone()
    return web.Response(body=source, content_type="text/plain")


def _all(request: web.Request) -> list[KeptMail]:
    return list(request.app[_FOLDER].all())


def _wanted(request: web.Request) -> KeptMail:
    mail = request.app[_FOLDER].find(request.match_info["id"])
    if mail is None:
        raise _gone()
    return mail


def _gone() -> web.HTTPNotFound:
    return web.HTTPNotFound(text="There is no such mail, or it was among the oldest and is gone.\n")


def _page(*, mails: list[KeptMail], mail: KeptMail | None) -> web.Response:
    text = _PAGES.get_template("page.html").render(mails=mails, mail=mail)
    return web.Response(text=text, content_type="text/html")
