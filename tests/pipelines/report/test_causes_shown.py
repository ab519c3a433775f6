"""How causes are shown: in words, in pictures, and in the report of a real run."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from monitors.attribute.attribution import Attribution, Share
from monitors.cause.density import Density
from monitors.cause.quantile_shift import LEVELS, QuantileShift
from monitors.cause.record import Cause, Scale
from monitors.explain.conditional import Conditional
from monitors.explain.maps import MapStep, ShiftMap
from pipelines.report import page as report_page
from pipelines.report import render
from pipelines.report.cause_figures import course_plot, map_plot, share_plot, spread_plots
from pipelines.report.cause_view import view
from pipelines.report.cause_words import (
    answers,
    badness,
    loss,
    map_words,
    readings,
    since,
    terms,
)
from pipelines.report.finding_page import render_finding
from pipelines.run_folder import open_run
from schemas.records import Finding, WindowKey
from tests.pipelines.report.small_runs import ALARM, finding, row_stream, write_small_run
from tests.small_streams import MOVED, Outcome, Watched

START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
BEGAN = datetime(2026, 3, 4, 6, tzinfo=UTC)
HOURS = 168
ALARMED = Finding(
    "s", '{"site": "A"}', START, END, None, "feature_shift", "moments", "<b>temp", "tested", 12.0,
    4.0, 1e-12, 0.9, True, 1, "reads 3.1 °C high, since 4 Mar 06:00", HOURS, "b",
    kind="offset", since=BEGAN,
)  # fmt: skip


def made_up() -> Cause:
    """Return a cause of which everything is known."""
    hours = np.arange(HOURS)
    times = (START.timestamp() * 1e6 + hours * 3.6e9).astype(np.int64)
    expected = 10 + np.sin(hours / 4)
    curve = np.linspace(0, 1, 9)
    step = MapStep(1, ("<b>temp",), 0.92, 0.1, ((3.1,),), (1.0,), ((11.0,),))
    return Cause(
        finding=ALARMED,
        unit="°C",
        since=BEGAN,
        course=Conditional(times, expected + 3.1 * (hours > 54), expected, np.full(HOURS, 0.4)),
        density=Density(curve, curve, curve[::-1]),
        shift=QuantileShift(LEVELS, LEVELS, LEVELS + 3.1, LEVELS + 2.9, LEVELS + 3.3, 100.0),
        own_shift=QuantileShift(LEVELS, LEVELS, LEVELS, LEVELS * 0 - 1, LEVELS * 0 + 1, 20.0),
        maps=(ShiftMap("sparse-mean", 1.0, (step,), 0),),
        map_sentence="<b>temp by +3.1 °C explains 92 % of the difference",
        map_given_others=True,
        scales={"<b>temp": Scale(0.0, 0.4, "°C")},
        attributions=(cost(),),
        checks=("the sensor",),
        notes=("nothing more",),
    )


def cost(after: float | None = 1.5) -> Attribution:
    """Return what a shift cost a forecast."""
    shares = (
        Share("the other features", ("a",), -0.1, -0.2, 0.0),
        Share("<b>temp given the others", ("<b>temp",), 1.0, 0.8, 1.2),
    )
    return Attribution("load", "pinball loss", "kW", 0.5, after, shares, 0.1, 0.9, 50.0)


def test_four_questions_have_an_answer_each() -> None:
    """Which with its unit and key; since without the window where it is known; how; how bad."""
    said = dict(answers(made_up()))
    assert said["Which"] == ("<b>temp (°C), site = A",)
    assert said["Since"] == (since(made_up()),)
    assert said["How"] == ("Reads 3.1 °C high.",)
    assert said["How bad"] == (
        (
            "Given the other features it reads 3.1 °C too high since then (median; +3.1 to "
            "+3.1 °C in nine rows of ten)."
        ),
        (
            "The pinball loss of the forecast of load went from 0.5 to 1.5 kW: +1, mostly by "
            "<b>temp given the others (+1)."
        ),
        "The change is 0.9 times the spread that the other features leave unexplained.",
        "Given the other features, <b>temp by +3.1 °C explains 92\u00a0% of the difference.",
    )


@pytest.mark.parametrize(
    ("began", "first", "says"),
    [
        (None, None, "in the window 2–9 Mar 2026, or before"),
        (BEGAN, None, "4 Mar 2026, 06:00 (in the window 2–9 Mar 2026)"),
        (
            datetime(2026, 2, 20, 3, tzinfo=UTC),
            datetime(2026, 2, 16, tzinfo=UTC),
            "20 Feb 2026, 03:00; still so in the window 2–9 Mar 2026",
        ),
        (
            None,
            datetime(2026, 2, 16, tzinfo=UTC),
            "the window that began 16 Feb 2026, 00:00; still so in the window 2–9 Mar 2026",
        ),
    ],
)
def test_since_is_that_of_the_whole_shift(
    began: datetime | None, first: datetime | None, says: str
) -> None:
    """A shift of several windows began in its first, at an hour that may not be known."""
    window = None if first is None else WindowKey(ALARMED.key, first, None)
    cause = dataclasses.replace(made_up(), since=began, first_window=window)
    assert since(cause).replace("\u00a0", " ") == says


def test_cost_is_told_before_outcomes_are_known() -> None:
    """Without labels the loss is what the shares add up to, and that is said."""
    text = loss(cost(after=None), made_up())
    assert "is likely to go from 0.5 to 1.4 kW, though no outcome is known yet: +0.9" in text
    assert loss(dataclasses.replace(cost(after=None), shares=()), made_up()) == ""


def test_only_a_share_of_the_same_sign_is_told_beside_the_change() -> None:
    """Where the loss fell, no share that raised it made that; nor does one that may be 0."""
    fell = loss(cost(after=0.4), made_up())
    assert fell.endswith("went from 0.5 to 0.4 kW: −0.1, no worse than before")
    doubtful = dataclasses.replace(cost(), shares=(Share("a", ("a",), 1.0, -0.1, 2.1),))
    assert loss(doubtful, made_up()).endswith("to 1.5 kW: +1")


def test_what_is_not_explained_is_told_before_a_small_share() -> None:
    """A share of a tenth of the change does not stand beside it as if it were the reason."""
    small = (Share("a given the others", ("a",), 0.1, 0.05, 0.15),)
    found = dataclasses.replace(cost(), shares=small, unexplained=0.9)
    assert loss(found, made_up()).endswith("+1, mostly not explained (+0.9)")
    part = dataclasses.replace(found, unexplained=0.05)
    assert loss(part, made_up()).endswith("+1, in part by a given the others (+0.1)")


def test_loss_of_kept_rows_is_said_to_be_theirs() -> None:
    """The monitor of the forecast counts all rows of the window, and so has another figure."""
    some = dataclasses.replace(made_up(), kept_rows=100)
    assert loss(cost(), some).startswith("in the 100 rows kept of 168, the pinball loss")


def test_terms_of_a_loss_add_up_to_its_change() -> None:
    """Shares by size, those beyond the sixth together, and what is left unexplained."""
    shares = tuple(Share(f"s{k}", ("a",), 0.1 * k, 0.0, 1.0) for k in range(1, 9))
    found = dataclasses.replace(cost(), shares=shares, unexplained=-2.6)
    assert found.after is not None
    told = terms(found)
    assert [name for name, _, _ in told] == [
        *("s8", "s7", "s6", "s5", "s4", "s3"),
        "2 smaller shares",
        "not explained",
    ]
    assert sum(amount for _, amount, _ in told) == pytest.approx(found.after - found.before)
    assert len(terms(cost(after=None))) == 2


@pytest.mark.parametrize(
    ("off", "says"),
    [
        (np.full(HOURS, -2.0), "it reads 2 °C too low in this window (median; −2 to −2 °C"),
        (np.linspace(-5, 5.2, HOURS), "it reads −4.49 to +4.69 °C off in this window"),
    ],
)
def test_reading_is_too_high_or_low_only_where_it_is_to_one_side(
    off: np.ndarray, says: str
) -> None:
    """Noise around what is expected has no direction."""
    expected = np.zeros(HOURS)
    cause = dataclasses.replace(made_up(), since=None)
    course = Conditional(None, off, expected, expected)
    assert readings(cause, course).startswith(f"given the other features {says}")


def test_every_part_of_a_cause_has_its_picture() -> None:
    """All are there, in the page's colours, each told to those who do not see it."""
    shown = view("n", made_up(), Path("/runs/a b"))
    plots = [shown.course, *shown.spreads, shown.costs[0].plot, shown.map_plot]
    assert len(plots) == 6
    for plot in plots:
        assert plot is not None
        assert not re.search(r"#[0-9a-f]{6}\b", plot.svg)
        assert "<b>temp" not in plot.svg
        assert plot.label.endswith(".")
        assert plot.caption
    assert shown.commands == (f"tidegauge explain {ALARMED.id} --run '/runs/a b'",)


def test_course_is_shaded_from_the_beginning_of_the_change() -> None:
    """The caption says when; a change that began before the window shades nothing."""
    cause = made_up()
    plot = course_plot("a", cause)
    assert plot is not None
    assert "var(--shade)" in plot.svg
    assert "Shaded: since 4\u00a0Mar\u00a02026, 06:00" in plot.caption
    earlier = dataclasses.replace(cause, since=datetime(2026, 1, 1, tzinfo=UTC))
    plot = course_plot("a", earlier)
    assert plot is not None
    assert "var(--shade)" not in plot.svg
    assert "Shaded" not in plot.caption


def test_line_is_broken_where_rows_were_not_kept() -> None:
    """Kept rows come in stretches: no line leads from one to the next."""
    cause = made_up()
    assert cause.course is not None
    kept = np.flatnonzero(np.arange(HOURS) % 40 < 16)
    part = Conditional(
        cause.course.times[kept] if cause.course.times is not None else None,
        *(getattr(cause.course, name)[kept] for name in ("observed", "expected", "spread")),
    )
    plot = course_plot("a", dataclasses.replace(cause, course=part))
    whole = course_plot("a", cause)
    assert plot is not None
    assert whole is not None
    assert f"{len(kept)} of the window's 168 rows are kept" in plot.caption
    lines = [max(map(len, re.findall(r'd="([^"]*)"', svg))) for svg in (plot.svg, whole.svg)]
    assert lines[0] < lines[1]


def test_own_shift_within_its_band_is_said_to_be_none() -> None:
    """Where no quantile left its limits that is said, and not that no test would see it."""
    *_, own = spread_plots("a", made_up())
    assert "no quantile of this column moved beyond its limits" in own.caption
    moved = dataclasses.replace(made_up(), own_shift=made_up().shift)
    *_, own = spread_plots("a", moved)
    assert "how far each quantile of the column moved" in own.caption


def test_rows_without_times_and_missing_parts_are_drawn() -> None:
    """Places stand for times; what is not there has no picture."""
    cause = made_up()
    assert cause.course is not None
    untimed = dataclasses.replace(cause.course, times=None)
    assert course_plot("a", dataclasses.replace(cause, course=untimed)) is not None
    bare = Cause(finding=ALARMED, unit=None)
    assert course_plot("a", bare) is None
    assert list(spread_plots("a", bare)) == []
    shown = view("a", bare, Path("r"))
    assert (shown.course, shown.spreads, shown.costs, shown.map_plot) == (None, [], [], None)


def test_sensor_that_read_nothing_is_said_to() -> None:
    """An empty curve is no mistake of the page."""
    cause = made_up()
    assert cause.course is not None
    nothing = dataclasses.replace(cause.course, observed=np.full(HOURS, np.nan))
    plot = course_plot("a", dataclasses.replace(cause, course=nothing))
    assert plot is not None
    assert plot.caption.startswith("It read nothing in this window. Dashed: what")


def test_map_is_told_with_the_size_only_where_it_names_the_subject() -> None:
    """A map of many columns, of others, or with the season in it, is left to its own place."""
    cause = made_up()
    assert any("explains 92" in text for text in badness(cause))
    step = cause.maps[0].steps[0]
    for columns in (("a", "b"), ("<b>temp", "a", "b", "c")):
        others = dataclasses.replace(
            cause.maps[0], steps=(dataclasses.replace(step, columns=columns),)
        )
        told = badness(dataclasses.replace(cause, maps=(others,)))
        assert not any("explains 92" in text for text in told)
    raw = dataclasses.replace(cause, map_given_others=False)
    assert not any("explains 92" in text for text in badness(raw))
    assert map_words(raw).startswith("season and load included, ")


def test_long_names_leave_room_in_headings(tmp_path: Path) -> None:
    """A column's name of 300 letters is cut in headings, and whole in the answers."""
    long = "L" * 300
    stream = row_stream((long, "b", "c"), key=["site"])
    rows = [finding(stream, 0, long, **(ALARM | {"key": '{"site": "north"}'}))]
    run = write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=1)
    whole, one = render(run), render_finding(run, run.table("findings")["id"][0])
    for page in (whole, one):
        heading = re.findall(r"<h1.*?</h1>", page, re.DOTALL)[0]
        assert long not in heading
        assert "L" * 30 in heading
        assert long in page
    assert "site = north" in one[: one.index("<h1")]


def test_map_that_moves_no_mean_has_no_arrows() -> None:
    """A shuffle changes the distribution and not the mean: the sentence says it alone."""
    cause = made_up()
    (found,) = cause.maps
    still = dataclasses.replace(found.steps[0], moves=((0.001,),))
    assert map_plot("a", cause, dataclasses.replace(found, steps=(still,))) is None
    assert share_plot("a", dataclasses.replace(cost(), shares=())) is None


@pytest.fixture(scope="module")
def html(finished: tuple[Watched, Outcome]) -> str:
    """Return the report of a real run in which a sensor was shuffled."""
    return render(open_run(finished[0].run))


def test_first_screen_answers_the_four_questions(html: str) -> None:
    """They stand in the header, before the counts of rows, and lead to the alarm's card."""
    header = html[: html.index("<main>")]
    places = [header.index(f"<dt>{word}</dt>") for word in ("Which", "Since", "How", "How bad")]
    assert places == sorted(places)
    assert places[-1] < header.index("<dt>Rows</dt>")
    assert f"<p>{MOVED}</p>" in header
    (anchor,) = re.findall(r'<a href="#(alarm-\d+)">', header)
    assert f'<article class="alarm" id="{anchor}">' in html


def test_card_of_an_alarm_shows_its_cause(html: str) -> None:
    """Curve, spreads, cost and map of the shuffled sensor are in its card; ids are unique."""
    (card,) = re.findall(r'<article class="alarm".*?</article>', html, re.DOTALL)
    assert card.count("<figure") >= 5
    for title in ("What it read, and what was due", "How it changed", "What it cost"):
        assert f"<h4>{title}</h4>" in card
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_real_run_gives_the_same_bytes(html: str, finished: tuple[Watched, Outcome]) -> None:
    """Causes are made of seeded draws: the report of a run is the same each time."""
    assert render(open_run(finished[0].run)) == html


def test_causes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many alarms the strongest have their cause drawn; the others have the command."""
    monkeypatch.setattr(report_page, "MOST_CAUSES", 2)
    stream = row_stream()
    rows = [
        finding(stream, index, "a", **(ALARM | {"statistic": 10.0 + index})) for index in range(5)
    ]
    page = render(write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=5))
    cards = re.findall(r'<article class="alarm".*?</article>', page, re.DOTALL)
    assert [card.count("<h4>What to check</h4>") for card in cards] == [0, 0, 0, 1, 1]
    assert all("tidegauge explain " in card for card in cards)


def test_swapped_sensors_lead_their_alarm(tmp_path: Path) -> None:
    """A neighbour that follows both is named first by the test, and is not the cause."""
    stream = row_stream()
    swap = {"kind": "swapped", "explanation": "swapped with c: each reads what the other should"}
    rows = [
        finding(stream, 0, "a", **ALARM),
        finding(stream, 0, "b", **(ALARM | {"rank": 2, "statistic": 6.0} | swap)),
    ]
    page = render(write_small_run(tmp_path / "run", stream, {"findings": rows}, windows=1))
    heading = re.findall(r"<h1.*?</h1>", page, re.DOTALL)[0]
    assert "b (and 1 more)" in heading
    assert "swapped with c" in heading
