"""A graph that fails says why: a user's mistake in its own words, anything else as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.runner import create_runner

from pipelines.runners import RUNNERS, check_runner, run_graph
from schemas.errors import OutputError, ReferenceDataError, SourceError, StreamFileError

SENTENCE = "rows.csv: the file is empty; remove it [or not], or write it again"


def raising(error: BaseException) -> Callable[[beam.Pipeline], None]:
    """Return a graph whose second step raises."""

    def fail(_: object) -> None:
        raise error

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | beam.Create([1, 2])
            | "first" >> beam.Map(lambda number: number)
            | "second step" >> beam.Map(fail)
        )

    return build


@pytest.mark.parametrize("kind", [SourceError, OutputError, ReferenceDataError])
def test_mistake_within_a_step_comes_back_as_its_sentence(kind: type[Exception]) -> None:
    """The error has its own type, and its own words without Beam's."""
    with pytest.raises(kind) as caught:
        run_graph(raising(kind(SENTENCE)))
    assert str(caught.value) == SENTENCE


def test_mistake_told_by_a_remote_worker_comes_back_as_its_sentence() -> None:
    """A worker elsewhere sends a traceback as text: the sentence is taken out of it."""
    text = (
        'Job failed: Traceback (most recent call last):\n  File "x.py", line 1, in process\n'
        f"schemas.errors.SourceError: {SENTENCE} [while running 'read/decode-ptransform-41']\n\n"
        "\tat org.apache.beam.Something"
    )
    with pytest.raises(SourceError) as caught:
        run_graph(raising(RuntimeError(text)))
    assert str(caught.value) == SENTENCE


def test_mistake_while_building_comes_back_as_it_is() -> None:
    """An error of the code that builds the graph passes through."""

    def build(_: beam.Pipeline) -> None:
        raise SourceError(SENTENCE)

    with pytest.raises(SourceError) as caught:
        run_graph(build)
    assert str(caught.value) == SENTENCE


def test_fault_of_ours_is_not_dressed_up() -> None:
    """Any other error stays what it is, with the step that met it."""
    with pytest.raises(ZeroDivisionError, match=r"by zero \[while running 'second step'\]"):
        run_graph(raising(ZeroDivisionError("by zero")))


def test_text_that_names_an_error_of_no_user_is_not_one() -> None:
    """Only errors of users are taken out of a text, not whatever stands in the module."""
    text = "schemas.errors.annotations: x"
    with pytest.raises(RuntimeError, match=text):
        run_graph(raising(RuntimeError(text)))


def test_interrupt_within_a_step_is_an_interrupt() -> None:
    """Beam makes Ctrl-C within a step an error of that step; here it is Ctrl-C again."""
    with pytest.raises(KeyboardInterrupt):
        run_graph(raising(KeyboardInterrupt()))


def test_runner_that_needs_a_network_says_so() -> None:
    """A runner whose own program cannot be fetched is named, with Beam's reason."""
    text = "Unable to fetch remote prism binary at its address: no network"
    with pytest.raises(StreamFileError, match="--runner local: Unable to fetch remote prism"):
        run_graph(raising_at_once(RuntimeError(text)))


def raising_at_once(error: Exception) -> Callable[[beam.Pipeline], None]:
    """Return a graph that fails before any step, as a runner does that cannot start."""

    def build(_: beam.Pipeline) -> None:
        raise error

    return build


def test_graph_runs_with_options(tmp_path: Path) -> None:
    """Options reach Beam; what a step does is done when `run_graph` returns."""

    def build(pipeline: beam.Pipeline) -> None:
        assert pipeline.options.get_all_options()["direct_num_workers"] == 1
        _ = pipeline | beam.Create(["a", "b"]) | beam.Map(lambda name: (tmp_path / name).touch())

    run_graph(build, options=["--direct_num_workers=1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_runners_are_known_to_beam() -> None:
    """Each name stands for a runner that Beam has, and is accepted; unknown options are not."""
    for name, runner in RUNNERS.items():
        check_runner(name, [])
        if name != "dataflow":  # needs its own package for more than its name
            assert type(create_runner(runner)).__name__ == runner
    with pytest.raises(StreamFileError, match="did you mean 'flink'"):
        check_runner("flinc", [])
    with pytest.raises(StreamFileError, match="--checkpoints: Beam has none"):
        check_runner("local", ["--checkpoints=3"])
    check_runner("flink", ["--checkpoints=3"])  # its job server knows options that Python does not
