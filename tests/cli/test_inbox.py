"""The inbox as a process of its own: what is sent is shown, kept within its bounds, and given to nobody else."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.mailer import SmtpMailer
from adapters.smtp_url import smtp_server
from cli.inbox.folder import MailFolder
from cli.inbox.serving import MAIL_BYTES_MAX
from cli.stack.home import Home, Secrets
from cli.stack.ports import Ports
from cli.stack.programs import INBOX, Programs, runs_inbox, settings
from cli.stack.servers import ServerUrls
from cli.stack.state import State, own_record
from cli.status import as_object, overview
from commands.ports import Mail
from tests.conftest import ROOT
from tests.gateways import free_port

COMMAND = [sys.executable, "-m", "cli.main", "inbox"]
MAIL = Mail(
    message_id="m-1",
    to="ada@example.com",
    subject="Hello <b>",
    text="Grüße\nhttps://shop.example/#token=a\n",
    html='<p onclick="x()">Grüße</p><script>alert(1)</script>',
)
SOURCE = b"To: ada@example.com\r\nSubject: %d\r\n\r\nbody\r\n"


class Running:
    """`kontor inbox` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.smtp_port, self.http_port = free_port(), free_port()
        self.start()

    def start(self) -> None:
        ready = self.home / "ready"
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=self.environment | {"KONTOR_READY_FILE": str(ready)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        give_up_at = time.monotonic() + 60
        while not (ready.exists() and ready.read_text() == str(self.process.pid)):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < give_up_at
            time.sleep(0.02)

    @property
    def environment(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
        ports = {"KONTOR_SMTP_PORT": str(self.smtp_port), "KONTOR_INBOX_PORT": str(self.http_port)}
        return outside | ports | {"KONTOR_HOME": str(self.home), "KONTOR_ENVIRONMENT": "development"}

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said

    async def send(self, mail: Mail = MAIL) -> None:
        server = smtp_server(f"smtp://127.0.0.1:{self.smtp_port}")
        await SmtpMailer(server, sender="Kontor <no-reply@shop.example>").send(mail)

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            return answer.status, dict(answer.headers), await answer.text()

    async def mails(self, query: str = "") -> list[dict[str, Any]]:
        return list(json.loads((await self.get(f"/mails{query}"))[2]))


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.process.kill()
    running.process.wait()


async def test_a_mail_that_was_sent_is_told_with_both_its_parts(inbox: Running) -> None:
    assert await inbox.mails() == []
    await inbox.send()
    await inbox.send(Mail(message_id="m-2", to="bob@example.com", subject="Second", text="x\n", html="<p>x</p>\n"))
    second, first = await inbox.mails()
    assert (first["message_id"], first["to"], first["subject"]) == ("<m-1@shop.example>", MAIL.to, MAIL.subject)
    assert (first["from"], first["text"], first["html"].strip()) == (
        "Kontor <no-reply@shop.example>",
        MAIL.text,
        MAIL.html,
    )
    assert [each["to"] for each in await inbox.mails("?to=bob@example.com")] == [second["to"]]


async def test_what_a_mail_holds_does_nothing_on_the_page(inbox: Running) -> None:
    await inbox.send()
    (mail,) = await inbox.mails()
    _, headers, listed = await inbox.get("/")
    _, _, shown = await inbox.get(f"/mails/{mail['id']}")
    assert "Hello &lt;b&gt;" in listed
    assert "<script" not in listed + shown
    assert f'<iframe sandbox title="The mail as HTML" src="/mails/{mail["id"]}/html">' in shown
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    _, headers, html = await inbox.get(f"/mails/{mail['id']}/html")
    assert html.strip() == MAIL.html
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    _, headers, source = await inbox.get(f"/mails/{mail['id']}/source")
    assert headers["Content-Type"].startswith("text/plain")
    assert "Message-ID: <m-1@shop.example>" in source


async def test_links_work_in_the_text_and_only_those_to_pages(inbox: Running) -> None:
    harm = 'javascript:alert(1) data:text/html,x https://a.example/"onclick="x <b>'
    await inbox.send()
    await inbox.send(Mail(message_id="m-2", to="bob@example.com", subject="Harm", text=f"{harm}\n", html="<p>x</p>\n"))
    harmful, good = [(await inbox.get(f"/mails/{mail['id']}"))[2] for mail in await inbox.mails()]
    assert '<a href="https://shop.example/#token=a" rel="noopener noreferrer" target="_blank">' in good
    assert harmful.count('rel="noopener noreferrer"') == 1
    assert 'href="https://a.example/&#34;onclick=&#34;x"' in harmful
    assert "javascript:alert(1) data:text/html,x <a" in harmful
    assert "&lt;b&gt;" in harmful


@pytest.mark.parametrize("path", ["/mails/nonsense", "/mails/..%2F..%2Fready/source", "/mails/x/html"])
async def test_what_is_not_there_is_not_found(inbox: Running, path: str) -> None:
    assert (await inbox.get(path))[0] == 404


async def test_a_page_of_another_site_gets_nothing_whatever_name_it_gives_this_machine(inbox: Running) -> None:
    await inbox.send()
    for name in ("evil.example", f"evil.example:{inbox.http_port}", "127.0.0.1.evil.example"):
        status, _, said = await inbox.get("/mails", Host=name)
        assert (status, "token" in said) == (421, False)
    assert (await inbox.get("/mails", Host=f"localhost:{inbox.http_port}"))[0] == 200


async def test_mails_outlive_the_process_and_its_log_holds_none_of_them(inbox: Running) -> None:
    await inbox.send()
    said = inbox.stop()
    assert "inbox_serves" in said
    assert "ada" not in said
    inbox.start()
    assert [each["to"] for each in await inbox.mails()] == [MAIL.to]


async def test_a_mail_that_is_too_large_is_refused_and_a_broken_one_is_shown(inbox: Running) -> None:
    large = (b"y" * 70 + b"\r\n") * (MAIL_BYTES_MAX // 70)
    with smtplib.SMTP("127.0.0.1", inbox.smtp_port, timeout=60) as client, pytest.raises(smtplib.SMTPException):
        client.sendmail("a@b.example", ["ada@example.com"], large)
    with smtplib.SMTP("127.0.0.1", inbox.smtp_port, timeout=60) as client:
        broken = b"Content-Type: text/plain; charset=no-such\r\nSubject: =?x?=\r\nDate: never\r\n\r\n\xff\xfe\r\n"
        client.sendmail("a@b.example", ["ada@example.com"], broken)
        client.sendmail("a@b.example", ["ada@example.com"], b"Content-Type: multipart/alternative\r\n\r\n\r\n")
    mails = await inbox.mails()
    assert len(mails) == 2
    assert [(await inbox.get(f"/mails/{each['id']}"))[0] for each in mails] == [200, 200]


def test_of_too_many_mails_the_oldest_go(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path, mails_max=3)
    for number in range(5):
        folder.keep(SOURCE % number)
    assert [mail.subject for mail in folder.all()] == ["4", "3", "2"]
    again = MailFolder(tmp_path, mails_max=3)
    again.keep(SOURCE % 5)
    assert [mail.subject for mail in again.all()] == ["5", "4", "3"]


def test_of_too_large_mails_the_oldest_go_and_the_newest_stays(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path, bytes_max=2 * len(SOURCE % 0) + 1)
    for number in range(5):
        folder.keep(SOURCE % number)
    assert [mail.subject for mail in folder.all()] == ["4", "3"]
    folder.keep(SOURCE % 5 + b"x" * 1_000)
    assert [mail.subject for mail in folder.all()] == ["5"]


def test_many_mails_at_once_are_kept_within_the_bound_and_none_is_refused(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path, mails_max=5)
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda number: folder.keep(SOURCE % number), range(400)))
    assert len(set(ids)) == 400
    assert len(list(folder.all())) == 5


def test_what_was_half_written_is_gone_after_a_restart(tmp_path: Path) -> None:
    MailFolder(tmp_path)
    (tmp_path / "tmp" / "1-2-3").write_text("half")
    assert list(MailFolder(tmp_path).all()) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_it_does_not_run_in_production_nor_on_a_port_that_is_taken(inbox: Running) -> None:
    for variables, says in (
        ({"KONTOR_ENVIRONMENT": "production"}, "does not run in production"),
        ({"KONTOR_ENVIRONMENT": ""}, "does not run in production"),
        ({"KONTOR_INBOX_HOST": "0.0.0.0"}, "KONTOR_INBOX_HOST"),
        ({}, "name KONTOR_SMTP_PORT and KONTOR_INBOX_PORT"),
    ):
        done = subprocess.run(
            COMMAND,
            cwd=ROOT,
            env=inbox.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr


PORTS = Ports(postgres=1, kafka=2, kafka_controller=3, redis=4, http=5, gateway=6, smtp=7, inbox=8)
SECRETS = Secrets(postgres_password="p", redis_password="p", master_key="m", jwt_key="j")
URLS = ServerUrls(postgres="postgresql://h/p", kafka="h:1", redis="redis://h")


@pytest.mark.parametrize(
    ("variables", "runs", "url"),
    [
        ({}, True, "smtp://127.0.0.1:7"),
        ({"KONTOR_SMTP_URL": "smtps://mail.example"}, False, "smtps://mail.example"),
        ({"KONTOR_ENVIRONMENT": "production"}, False, None),
    ],
    ids=["development", "a server is given", "production"],
)
def test_mails_end_here_unless_a_server_is_given_or_they_are_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], runs: bool, url: str | None
) -> None:
    for name in ("KONTOR_SMTP_URL", "KONTOR_ENVIRONMENT", "KONTOR_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = settings(Home(tmp_path), SECRETS, URLS, PORTS)
    assert (runs_inbox(), made.get("KONTOR_SMTP_URL")) == (runs, url)
    assert made["KONTOR_PUBLIC_URL"] == "http://127.0.0.1:5"
    assert INBOX in Programs().services


def test_the_status_names_the_inbox_where_it_runs(tmp_path: Path) -> None:
    given = {"KONTOR_SMTP_URL": "smtp://127.0.0.1:6", "KONTOR_INBOX_PORT": "7"}
    state = State(launcher=own_record(), expected=("api", INBOX), settings=given)
    assert (as_object(state)["smtp_url"], as_object(state)["inbox_url"]) == ("smtp://127.0.0.1:6", "http://127.0.0.1:7")
    assert "http://127.0.0.1:7" in overview(state, Home(tmp_path))
    elsewhere = State(launcher=own_record(), expected=("api",), settings={})
    assert (as_object(elsewhere)["smtp_url"], as_object(elsewhere)["inbox_url"]) == (None, None)
