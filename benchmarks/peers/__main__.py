"""`tidegauge check` beside other drift tools: ``python -m benchmarks.peers [--write]``.

The first run installs each peer into a virtual environment of its own, under `benchmarks/.data`.
Ctrl-C ends the trials and keeps what there is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path

import pyarrow as pa

from benchmarks.measure import ROOT
from benchmarks.peers.client import Client
from benchmarks.peers.page import Scores, page, plot
from benchmarks.peers.roster import ROSTER, Contender
from benchmarks.peers.score import Score
from benchmarks.peers.settings import SETTINGS, Setting
from benchmarks.peers.worker import SIDES


def main(trials: int, peers: Sequence[str], *, write: bool) -> None:
    """Ask everyone about the same tables; print the page, or write it with its picture."""
    roster = [contender for contender in ROSTER if contender.peer in peers]
    scores: Scores = {}
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clients = {peer: stack.enter_context(closing(Client(peer))) for peer in peers}
        for client in clients.values():
            versions |= client.answer()
        try:
            for trial, setting in product(range(trials), SETTINGS):
                print(f"\rtrial {trial + 1} of {trials}", end="", file=sys.stderr, flush=True)
                asked = [c for c in roster if trial < c.trials(setting, trials)]
                run_trial(setting, trial, asked, clients, folder, scores)
        except KeyboardInterrupt:
            print(": stopped, this is what there is", file=sys.stderr)
    text = page(roster, scores, versions)
    print("\n" + text)
    if write:
        plot(roster, scores, ROOT / "docs" / "images" / "peers.png")
        (ROOT / "docs" / "peers.md").write_text(text, encoding="utf-8")


def run_trial(
    setting: Setting,
    trial: int,
    roster: Sequence[Contender],
    clients: dict[str, Client],
    folder: Path,
    scores: Scores,
) -> None:
    """Give a pair of tables to everyone, and count what is answered."""
    for side, rows in zip(SIDES, setting.tables(trial), strict=True):
        with (
            pa.OSFile(str(folder / f"{side}.arrow"), "wb") as file,
            pa.ipc.new_file(file, rows.schema) as writer,
        ):
            writer.write_table(rows)
    asked = {contender.peer for contender in roster}
    for peer in asked:
        clients[peer].ask(folder, [c.call for c in roster if c.peer == peer])
    answers = [answer for peer in asked for answer in clients[peer].answer().values()]
    for answer in answers:
        for rule, said in answer["decisions"].items():
            score = scores.setdefault((setting.name, rule), Score())
            score.add(**said, truth=setting.truth, cpu=answer["cpu"])


if __name__ == "__main__":
    everyone = list(dict.fromkeys(contender.peer for contender in ROSTER))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--trials", type=int, default=60, help="most trials of a setting")
    parser.add_argument("--peers", nargs="+", default=everyone, choices=everyone)
    parser.add_argument("--write", action="store_true", help="write docs/peers.md and its picture")
    given = parser.parse_args()
    main(given.trials, given.peers, write=given.write)
