"""The page of a finding, as the exporter serves it."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path

import pytest

from pipelines.run_folder import open_run
from pipelines.serve import Guard, open_server
from pipelines.serve.access import hash_password
from pipelines.serve.links import pages_of
from pipelines.serve.run_source import RunSource
from pipelines.serve.topic_source import TopicSource
from schemas.errors import OutputError
from tests.pipelines.serve.test_server import answer, served
from tests.small_streams import MOVED, Outcome, Watched


@pytest.fixture
def run(finished: tuple[Watched, Outcome]) -> Path:
    """Return a run folder with alarms."""
    return finished[0].run


@pytest.fixture
def finding(run: Path) -> str:
    """Return the id of the alarm about the shuffled sensor."""
    found = open_run(run).table("findings")
    return str(found.filter("alarm", monitor="feature_shift", subject=MOVED)["id"][0])


def test_page_tells_the_cause_and_runs_nothing(run: Path, finding: str) -> None:
    """The four answers and the pictures are there; no script, no address, and none would load."""
    with served(run) as url:
        status, page, headers = answer(f"{url}/findings/{finding}")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for question in ("Which", "Since", "How", "How bad"):
        assert f"<dt>{question}</dt>" in page
    assert f"{MOVED} " in page
    assert page.count("<figure") >= 4
    assert "What to check" in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize(
    "path", ["0" * 20, "", "..%2f..%2frun.json", "../run.json", "x" * 20, "0" * 21, "%00" * 20]
)
def test_what_is_no_finding_is_not_found(run: Path, path: str) -> None:
    """Unknown ids, and what is no id at all, are told in a sentence; none is used as a path."""
    with served(run) as url:
        status, text, headers = answer(f"{url}/findings/{path}")
    assert status == 404
    assert "id" in text
    assert headers["Content-Type"].startswith("text/plain")


def test_page_asks_for_the_password_of_the_metrics(run: Path, finding: str, tmp_path: Path) -> None:
    """A guard protects the pages as it does the metrics."""
    users = tmp_path / "users"
    users.write_text(f"me:{hash_password('secret')}\n")
    with served(run, guard=Guard(users=users)) as url:
        assert answer(f"{url}/findings/{finding}")[0] == 401
        assert answer(f"{url}/findings/{'0' * 20}")[0] == 401
        assert answer(f"{url}/findings/{finding}", "me:secret")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_page_can_only_be_read(run: Path, finding: str, method: str) -> None:
    """What would write is refused and draws nothing; HEAD has the headers alone."""
    with served(run) as url:
        where = url.removeprefix("http://")
        status, text, headers = asked(where, method, f"/findings/{finding}")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert "use GET" in text
        status, text, headers = asked(where, "HEAD", f"/findings/{finding}")
        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 1000


def asked(where: str, method: str, path: str) -> tuple[int, str, Message]:
    """Return status, text and headers of the answer to any method."""
    connection = HTTPConnection(where, timeout=30)
    connection.request(method, path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, response.headers


def test_many_who_ask_at_once_are_all_let_in(run: Path) -> None:
    """Whom the system's queue has no room for tries again a second later: also a scrape."""
    with open_server(run, "127.0.0.1:0") as server:  # and nobody takes them from the queue
        address = "127.0.0.1", server.server_port
        waiting = [socket.create_connection(address, timeout=0.5) for _ in range(50)]
    for connection in waiting:
        connection.close()


def test_page_is_made_once_and_again_for_another_run(
    run: Path, finding: str, tmp_path: Path
) -> None:
    """A page is kept while the run is as it was."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    source = RunSource(folder)
    page = source.page(finding)
    assert source.page(finding) is page
    (folder / "run.json").write_text((folder / "run.json").read_text() + "\n")
    again = source.page(finding)
    assert again is not page
    assert again == page


def test_page_is_drawn_again_when_the_run_is_replaced_under_it(
    run: Path, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that were put together are gone: that is no fault of the run."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    tries: list[int] = []

    def replaced(*_: object) -> str:
        tries.append(1)
        if len(tries) == 1:
            (folder / "run.json").write_text((folder / "run.json").read_text() + "\n")
            message = "a part of this run is missing; run again"
            raise OutputError(message)
        return "<!doctype html>"

    monkeypatch.setattr("pipelines.report.finding_page.render_finding", replaced)
    assert RunSource(folder).page(finding) == "<!doctype html>"
    assert len(tries) == 2


def test_metrics_do_not_wait_for_a_page(
    run: Path, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that takes long keeps no scrape waiting."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        begun.set()
        assert go_on.wait(30)
        return "<!doctype html>"

    monkeypatch.setattr("pipelines.report.finding_page.render_finding", slow)
    with served(run) as url:
        asking = threading.Thread(target=answer, args=(f"{url}/findings/{finding}",))
        asking.start()
        assert begun.wait(30)
        asked = time.monotonic()
        assert answer(f"{url}/metrics")[0] == 200
        assert asking.is_alive()
        assert time.monotonic() - asked < 10
        go_on.set()
        asking.join()


def test_damaged_run_is_a_fault_of_the_server(run: Path, finding: str, tmp_path: Path) -> None:
    """A part that was removed is said, and is no 404."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    with served(folder) as url:
        shutil.rmtree(folder / "episodes")
        status, text, _ = answer(f"{url}/findings/{finding}")
    assert status == 500
    assert "is missing; run again" in text


def test_topic_has_no_pages() -> None:
    """A topic holds no rows: the sentence says where the page would be."""
    with pytest.raises(OutputError, match=r"this exporter reads a topic.*tidegauge explain 0000"):
        TopicSource.page(TopicSource.__new__(TopicSource), "0" * 20)


@pytest.mark.parametrize(
    ("url", "listen", "guard", "pages"),
    [
        (None, "127.0.0.1:9464", None, "http://127.0.0.1:9464/findings/"),
        (None, "[::1]:9464", Guard(certificate=Path("c.pem")), "https://[::1]:9464/findings/"),
        ("https://t.example/gauge/", "0.0.0.0:1", None, "https://t.example/gauge/findings/"),
    ],
)
def test_pages_have_an_address(
    url: str | None, listen: str, guard: Guard | None, pages: str
) -> None:
    """It is what the operator says, else what the server listens on."""
    assert pages_of(url, listen, guard) == pages


def test_server_for_all_interfaces_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No browser opens 0.0.0.0."""
    monkeypatch.setattr("socket.gethostname", lambda: "gauge-1")
    assert pages_of(None, "0.0.0.0:9464", None) == "http://gauge-1:9464/findings/"


@pytest.mark.parametrize(
    "url", ["tidegauge.example", "ftp://e", "https://", "http://e/?q=1", "http://[x"]
)
def test_url_that_no_browser_opens_is_an_output_error(url: str) -> None:
    """A link that would not work is refused when the server starts."""
    with pytest.raises(OutputError, match=r"--url .*: not a URL"):
        pages_of(url, "127.0.0.1:9464", None)
