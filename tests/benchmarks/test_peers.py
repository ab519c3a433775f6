"""What the comparison with other tools makes up and counts; no peer is needed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.page import page
from benchmarks.peers.roster import ROSTER
from benchmarks.peers.score import Score, rate
from benchmarks.peers.settings import CHANGED, COLUMNS, ROWS, SETTINGS, Setting

OF = {setting.name: setting for setting in SETTINGS}


@pytest.mark.parametrize("setting", SETTINGS, ids=OF)
def test_every_setting_makes_two_tables_that_name_its_truth(setting: Setting) -> None:
    """Both tables have the same 25 columns, the changed one among them, whoever asks."""
    before, now = setting.tables(0)
    assert before.schema == now.schema
    assert (before.num_columns, before.num_rows, now.num_rows) == (COLUMNS, ROWS, ROWS)
    assert setting.truth in ("", *before.column_names)
    assert setting.tables(0)[1].equals(now)
    assert not setting.tables(1)[1].equals(now)


def test_the_replayed_sensor_loses_its_neighbours_and_nothing_else() -> None:
    """Shuffling breaks the correlation with both neighbours and no other one."""
    before, now = (
        np.corrcoef([column.to_numpy() for column in side.columns])
        for side in OF["one sensor replayed"].tables(0)
    )
    middle = int(CHANGED[1:])
    beside = [before[j, j + 1] - now[j, j + 1] for j in range(COLUMNS - 1)]
    assert {j for j, lost in enumerate(beside) if lost > 0.5} == {middle - 1, middle}


def test_gaps_and_new_values_are_where_they_should_be() -> None:
    """The last number's gaps double; the new category is in the current table only."""
    before, now = OF["gaps 5 % → 10 %"].tables(0)
    assert before["x22"].null_count < 0.075 * ROWS < now["x22"].null_count
    before, now = OF["1 % new category"].tables(0)
    assert "new" not in before["grade"].to_pylist()
    assert now["grade"].to_pylist().count("new") in range(1, 25)


def test_exact_asks_for_the_right_column_alone() -> None:
    """An alarm that names a neighbour, too, is not exact; nothing is in a clean table."""
    score = Score()
    for named in (["x12"], ["x12", "x13"], ["x03"], []):
        score.add(alarm=bool(named), named=named, truth="x12", cpu=0.5)
    assert (score.found, score.located, score.named, score.cpu) == (0.75, 0.25, 4, 2.0)
    score.add(alarm=False, named=[], truth="", cpu=0.0)
    assert score.exact == 1


def test_rate_has_the_exact_interval() -> None:
    """Five of a hundred: Clopper and Pearson give 0.016 to 0.113."""
    assert rate(5, 100) == "0.05 (0.02-0.11)"


def test_who_takes_no_gaps_is_not_asked_about_them() -> None:
    """A contender without categories gets no trial of the mixed table, a slow one fewer."""
    mmd = next(contender for contender in ROSTER if not contender.mixed)
    assert mmd.trials(OF["1 % new category"], 100) == 0
    assert mmd.trials(OF["one sensor replayed"], 100) == mmd.most
    assert mmd.trials(OF["one sensor replayed, correlation 0.2"], 100) == 0


def test_the_page_has_a_line_per_rule_and_no_ragged_table() -> None:
    """Every rule has its line in both tables, and every line as many cells as the header."""
    scores = {
        (setting.name, rule): Score(4, 3, 2, 5, 1.0)
        for setting in SETTINGS
        for contender in ROSTER
        for rule in contender.rules
        if contender.trials(setting, 4)
    }
    text = page(ROSTER, scores, {"numpy": "2"})
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
    for contender in ROSTER:
        for rule in contender.rules:
            assert text.count(f"\n| {rule} |") >= 2
    assert "| tidegauge check | 0.75 / 0.50 |" in text
