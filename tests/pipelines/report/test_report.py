from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.report import render, write_report
from pipelines.run_folder import open_run
from schemas.errors import OutputError
from tests.pipelines.report.small_runs import (
    ALARM,
    finding,
    forecast_rows,
    row_stream,
    write_small_run,
)
from tests.run_folders import write_run_folder

HOSTILE = ["<script>alert(1)</script>", "</style><b>", "a\"b'&amp;", "$\\alpha_{2$", "温度 🌡"]


class Page(HTMLParser):
    """The elements of a page, and the text of its sections."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.section = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an element."""
        self.elements.append((tag, dict(attrs)))
        if tag in {"h1", "section", "header"}:
            self.section = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        """Remember a text."""
        self.text[self.section] = self.text.get(self.section, "") + data.replace("\u00a0", " ")

    def count(self, tag: str) -> int:
        """Return how many elements of a kind there are."""
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of thirty weeks with one alarm."""
    return write_run_folder(tmp_path_factory.mktemp("weather") / "run")


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    """Return the report of the run."""
    return render(open_run(folder))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """Return the report, read."""
    return Page(html)


def test_first_sentence_names_the_alarmed_sensor(page: Page) -> None:
    """The heading says how many alarms in how many windows, which sensor, when and how."""
    assert page.text["h1"].startswith(
        "1 alarm in 30 windows: LGA.temp, 6–13 May 2013, reads 3.1 °F high given the other columns"
    )


def test_header_accounts_for_every_row_and_the_budget(page: Page) -> None:
    """Rows in = used + rejected + late is shown, and the budget in the words of the user."""
    text = " ".join(page.text["h1"].split())
    assert "5,051 in = 5,040 used + 11 rejected + 0 late" in text
    assert "do not add up" not in text
    assert "1 false alarm per 52 weeks" in text
    assert "About 0.58 expected" in text  # 30 windows of 7 days in 52 weeks
    assert "8,760 rows, 1 Jan – 31 Dec 2012" in text
    assert "9f3c2a7be4d1" in text


def test_rows_that_do_not_add_up_are_said(tmp_path: Path) -> None:
    """A run that lost rows says so in its header."""
    rows = {"in": 10, "used": 8, "rejected": 1, "late": 0}
    run = write_small_run(tmp_path / "run", row_stream(), rows=rows)
    assert "do not add up" in Page(render(run)).text["h1"]


def test_alarm_card_holds_what_to_do_next(page: Page, folder: Path) -> None:
    """The card has the effect, statistic and threshold, odds, the command, and the forecasts."""
    (alarm,) = open_run(folder).table("findings").filter("alarm").to_dicts()
    text = " ".join(page.text["alarms"].split())
    assert "Reads 3.1 °F high given the other columns" in text
    assert "0.92 conditional standard deviations" in text
    assert "41.7 against a threshold of 2.6, 16 times it" in text
    assert "1 in 10⁴¹" in text
    assert f"tidegauge explain {alarm['id']} --run {folder}" in text
    assert re.search(r"delay: \d\d\.\d % of 168 outcomes inside the interval", text)
    assert "(no alarm)" in text


def test_forecast_scores_are_those_of_the_rows(page: Page, folder: Path) -> None:
    """Coverage in the summary of a forecast is the share of outcomes inside the interval."""
    rows = open_run(folder).table("forecasts").drop_nulls("outcome")
    share = rows.select(pl.col("outcome").is_between("lower", "upper").mean()).item()
    text = page.text["forecasts"]
    assert f"{100 * share:.1f} % of them lie inside the calibrated 90 % interval" in text
    error = rows["outcome"].to_numpy()[:, None] - np.stack(rows["quantiles"].to_list())
    loss = (error * (np.asarray(rows["levels"][0]) - (error < 0))).mean()
    assert f"mean pinball loss {loss:.3g} min" in text


def test_data_quality_shows_columns_expectations_and_rejects(page: Page) -> None:
    """Every column has a row; failed expectations and rejected rows are there with a reason."""
    text = page.text["quality"]
    assert all(f"{airport}.visib" in text for airport in ("EWR", "JFK", "LGA"))
    assert "120 expectations checked: 118 passed, 1 failed, 1 could not be evaluated." in text
    assert "104.2 is above max 100" in text
    assert "a value lies outside the column's range" in text


def test_page_refers_to_nothing_outside(html: str, page: Page) -> None:
    """The page loads nothing: no address, no source, no import; links stay on the page."""
    assert not re.search(r"https?:|//\w+\.\w|@import|src\s*=|url\((?!#)", html)
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    targets = [attrs.get("href") or "" for _, attrs in page.elements if "href" in attrs]
    assert targets
    assert all(target.startswith("#") for target in targets)


def test_ids_are_unique_and_every_reference_has_one(html: str, page: Page) -> None:
    """No two elements share an id, although each figure brings its own."""
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="|url\()#([^")]+)', html)
    assert set(used) <= set(ids)


def test_every_figure_has_a_label_and_a_caption(page: Page) -> None:
    """Each figure can be heard: role img, a label; and has a caption."""
    plots = [attrs for _, attrs in page.elements if attrs.get("class") == "plot"]
    assert len(plots) == page.count("figure") == page.count("figcaption") == 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    assert "alarms for LGA.temp" in str(plots[0]["aria-label"])


def test_colours_follow_the_theme(html: str) -> None:
    """No figure has a colour of its own; each colour is set for light, dark and print."""
    figures = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", figures)
    used = set(re.findall(r"var\((--[\w-]+)\)", html))
    assert used
    for name in used:
        assert len(re.findall(rf"{name}: ?#", html)) == 3, name


def test_same_run_gives_the_same_bytes(html: str, folder: Path) -> None:
    """The page depends on the run alone."""
    assert render(open_run(folder)) == html


def test_matplotlib_settings_of_the_user_do_not_count(html: str, folder: Path) -> None:
    """The user's matplotlib settings change neither the page, nor does the page change them."""
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30.0, "svg.fonttype": "path"}):
        assert render(open_run(folder)) == html
        assert mpl.rcParams["font.size"] == 30.0


def test_a_year_stays_small(tmp_path: Path) -> None:
    """52 windows of 18 features with hourly forecasts fit in 2 MB."""
    run = open_run(write_run_folder(tmp_path / "run", weeks=52))
    out = write_report(run, tmp_path / "report.html")
    assert out.stat().st_size < 2_000_000


def test_quiet_run_says_so(tmp_path: Path) -> None:
    """Without an alarm the heading says that nothing alarmed."""
    run = open_run(write_run_folder(tmp_path / "run", weeks=4, shifted_week=None))
    page = Page(render(run))
    assert page.text["h1"].startswith("Nothing alarmed in 4 windows.")
    assert "No evidence passed its threshold" in page.text["alarms"]


def test_empty_run_says_why_each_section_is_empty(tmp_path: Path) -> None:
    """A run without any table has a sentence in each section, and no figure."""
    page = Page(render(write_small_run(tmp_path / "run", row_stream())))
    assert page.text["h1"].startswith("Nothing was tested: the run has no window of rows.")
    assert "This run has no findings" in page.text["alarms"]
    assert "There is nothing to draw" in page.text["time"]
    assert "This run made no forecasts" in page.text["forecasts"]
    assert "no column summaries" in page.text["quality"]
    assert "No expectation was checked" in page.text["quality"]
    assert "No row was rejected" in page.text["quality"]
    assert "This run has no findings" in page.text["findings"]
    assert page.count("figure") == 0


def test_untested_run_is_not_called_quiet(tmp_path: Path) -> None:
    """When no test could be made, the page says so and why, not that nothing alarmed."""
    stream = row_stream()
    nothing = dict.fromkeys(("statistic", "threshold", "p_value", "effect", "rank"))
    why = "not tested: the reference has no rows of this key"
    rows = [
        finding(stream, index, name, status="not_tested", explanation=why, **nothing)
        for index in range(3)
        for name in "abc"
    ]
    run = write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=3)
    page = Page(render(run))
    assert page.text["h1"].startswith("Nothing was tested in 3 windows.")
    assert "a, b and c" in page.text["alarms"]
    assert why in page.text["alarms"]


def test_forecasts_without_outcomes_are_drawn_and_not_scored(tmp_path: Path) -> None:
    """Before the first label there is a fan chart and no coverage."""
    stream = row_stream(target="y")
    tables = {
        "findings": [finding(stream, 0, "a")],
        "forecasts": forecast_rows(stream, 50, outcomes=False),
    }
    page = Page(render(write_small_run(tmp_path / "run", stream, tables, windows=1)))
    assert "0 outcomes known" in page.text["forecasts"]
    assert "No outcome is known yet" in page.text["forecasts"]
    assert page.count("figure") == 2  # the heat map and the fan chart


def test_windows_counted_in_rows_are_named_by_number(tmp_path: Path) -> None:
    """A stream without times names its windows, and finds the forecasts of each."""
    stream = row_stream(target="y")
    rows = [finding(stream, index, name) for index in range(4) for name in "ac"]
    rows += [finding(stream, index, "b", **(ALARM if index == 2 else {})) for index in range(4)]
    tables = {"findings": rows, "forecasts": forecast_rows(stream, 200)}
    page = Page(render(write_small_run(tmp_path / "run", stream, tables, windows=4)))
    assert page.text["h1"].startswith("1 alarm in 4 windows: b, window 2, no longer follows")
    known = forecast_rows(stream, 200)[100:150]
    share = sum(abs(row["outcome"]) <= 1.645 for row in known) / 50  # type: ignore[arg-type]
    assert f"y: {100 * share:.1f} % of 50 outcomes inside" in " ".join(page.text["alarms"].split())


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report of eight keys with hostile names, two of them with alarms."""
    stream = row_stream(HOSTILE, key=("site",), target="<i>y")
    keys = [json.dumps({"site": f"s{i}<img>"}) for i in range(8)]
    rows = [
        finding(stream, index, name, key=key, **(ALARM if hit else {}))
        for k, key in enumerate(keys)
        for index in range(3)
        for name in HOSTILE
        for hit in [k in {2, 5} and index == 1 and name == HOSTILE[0]]
    ]
    reject = {
        "stream": stream.name,
        "path": "<p>.csv",
        "row": None,
        "reason": "<r>",
        "column": HOSTILE[0],
        "detail": "<d>",
        "raw": "<script>alert(2)</script>" * 40,
    }
    failed = {
        "stream": stream.name,
        "key": keys[0],
        "window_index": 0,
        "expectation": "<e>",
        "severity": "critical",
        "result": "fail",
        "columns": HOSTILE,
        "detail": "<f>",
    }
    tables: dict[str, list[dict[str, Any]]] = {
        "findings": rows,
        "rejects": [reject],
        "expectations": [failed],
        "forecasts": [row for key in keys for row in forecast_rows(stream, 150, key=key)],
    }
    folder = tmp_path_factory.mktemp("keyed") / "run"
    return render(write_small_run(folder, stream, tables, windows=24))


def test_text_of_the_user_is_escaped(keyed: str) -> None:
    """Names, keys, raw rows and details arrive as text, in tables, labels and figures."""
    page = Page(keyed)
    assert page.count("script") == page.count("style") == 1
    assert (page.count("img"), page.count("b")) == (0, 4)  # the four counts of rows
    assert not re.search(r"<(img|d|e|f|r|y)\b", keyed)
    assert "<script>alert(1)</script>" in page.text["h1"]
    assert "$\\alpha_{2$" in page.text["time"]  # no mathematics in a figure
    assert "<script>alert(2)</script>" in page.text["quality"]


def test_of_many_keys_those_with_alarms_are_drawn(keyed: str) -> None:
    """Of eight keys the two with alarms have a heat map and forecasts, and the page says so."""
    page = Page(keyed)
    labels = [str(attrs.get("aria-label")) for _, attrs in page.elements if "role" in attrs]
    maps = [label for label in labels if label.startswith("Heat map")]
    assert [re.findall(r"s\d", label)[0] for label in maps] == ["s2", "s5"]
    assert "2 of 8 keys are shown" in page.text["time"]
    assert "2 of 8 forecast series are drawn" in page.text["forecasts"]


def test_findings_beyond_the_cap_are_pointed_to(tmp_path: Path) -> None:
    """The table keeps the strongest 500, alarms first, and says where the others are."""
    stream = row_stream([f"x{i}" for i in range(60)])
    rows = [finding(stream, i, f"x{j}") for i in range(10) for j in range(60)]
    rows[-1] = finding(stream, 9, "x59", **ALARM)
    run = write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=10)
    page = Page(render(run))
    text = " ".join(page.text["findings"].split())
    assert "the 500 strongest of 600 findings; the full table is in" in text
    assert f"{run.folder}/findings" in text
    assert text.index("x59") < text.index("x58")


def test_last_revision_of_a_finding_counts(tmp_path: Path) -> None:
    """Late rows revise a finding: an alarm that was withdrawn is none."""
    stream = row_stream()
    rows = [finding(stream, 0, "a", **ALARM), finding(stream, 0, "a", revision=1)]
    run = write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=1)
    assert Page(render(run)).text["h1"].startswith("Nothing alarmed in 1 window.")


def test_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A path that cannot be written is the user's error, and leaves no file behind."""
    run = write_small_run(tmp_path / "run", row_stream())
    assert write_report(run, tmp_path / "new" / "r.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["r.html"]
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file" / "r.html", tmp_path / "new"):
        with pytest.raises(OutputError, match=r"r\.html|is a folder"):
            write_report(run, out)
    assert not list(tmp_path.glob("**/.*"))


def test_damaged_part_is_named(tmp_path: Path) -> None:
    """A part that is not Parquet is reported as the run's fault, in one line."""
    folder = write_run_folder(tmp_path / "run", weeks=3, shifted_week=1)
    (folder / "forecasts" / "part-00000.parquet").write_bytes(b"not parquet")
    with pytest.raises(OutputError, match=r"cannot be read: .*; run again"):
        render(open_run(folder))


@pytest.mark.integration
def test_browser_opens_the_page_without_a_complaint(html: str, tmp_path: Path) -> None:
    """Chromium runs the page's script: the headings become buttons, and the console stays empty."""
    browser = shutil.which("chromium")
    assert browser is not None
    # an error of the script, or of anything the page loads, would land in the title
    trap = "<script>onerror = (message) => { document.title = 'broken ' + message; }</script>"
    click = "<script>document.querySelectorAll('#all thead button')[2].click();</script>"
    path = tmp_path / "report.html"
    path.write_text(
        html.replace("<style>", trap + "<style>", 1).replace("</body>", click + "</body>"),
        encoding="utf-8",
    )
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --enable-logging=stderr --v=0"
    )
    done = subprocess.run(
        [
            browser,
            *options.split(),
            f"--user-data-dir={tmp_path}/profile",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    assert "<title>nyc-weather: 1 alarm" in done.stdout
    assert done.stdout.count("<button") == 10
    subjects = re.findall(
        r'<tr[^>]*>.*?<th scope="row">([^<]*)</th>', done.stdout.split('id="all"')[1]
    )
    assert subjects == sorted(subjects, key=str.lower)
