"""`kontor inbox`: takes every mail that is sent to this machine and shows it on a page. For development."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import structlog

from cli.exits import one_sentence
from cli.inbox.folder import MailFolder
from cli.inbox.serving import serving
from cli.log_output import log_to_stderr
from cli.stack.home import default_home
from cli.stack.ports import PREFERRED, named_ports
from cli.stack.problem import Problem
from cli.stack.programs import environment_name, require_development_here

HOST: Final = "127.0.0.1"


@one_sentence
def inbox() -> None:
    """Take every mail by SMTP, whoever it is for, and show it on a page and as JSON at /mails; nothing is sent on.

    KONTOR_SMTP_PORT and KONTOR_INBOX_PORT choose the ports, KONTOR_INBOX_HOST the address (this machine's own without
    it). Mails are files in the home, the newest 500. Refuses in production: mailed links are keys to accounts. Ends on
    SIGTERM or Ctrl-C.
    """
    if environment_name(default="production") == "production":
        raise Problem(
            "The inbox shows everybody's mails to whoever asks: it does not run in production, but where"
            " KONTOR_ENVIRONMENT=development."
        )
    require_development_here("KONTOR_INBOX_HOST", os.environ.get("KONTOR_INBOX_HOST") or HOST, "development")
    log_to_stderr("inbox")
    home = default_home()
    try:
        folder = MailFolder(home.inbox)
    except OSError as error:
        raise Problem(
            f"Mails cannot be kept in {home.inbox} ({error.strerror}): set KONTOR_HOME to another."
        ) from error
    try:
        asyncio.run(_serve(folder))
    except OSError as error:
        raise Problem(
            f"The inbox cannot listen ({error.strerror}): name KONTOR_SMTP_PORT and KONTOR_INBOX_PORT."
        ) from error


async def _serve(folder: MailFolder) -> None:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    ports = {**PREFERRED, **named_ports()}
    host = os.environ.get("KONTOR_INBOX_HOST") or HOST
    async with serving(folder, host=host, smtp_port=ports["smtp"], http_port=ports["inbox"]) as (smtp, http):
        structlog.get_logger().info("inbox_serves", smtp_port=smtp, http_port=http)
        if ready_file := os.environ.get("KONTOR_READY_FILE"):
            await asyncio.to_thread(Path(ready_file).write_text, str(os.getpid()))
        await asked.wait()
