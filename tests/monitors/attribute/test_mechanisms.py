from __future__ import annotations

from monitors.attribute.mechanisms import Mechanism, by_graph, by_names

FEATURES = ("a", "b", "c", "d")


def test_a_target_that_named_sensors_measure_comes_before_them() -> None:
    """Each sensor's law is given the target and what was not named, not the other sensors."""
    assert by_names(["c", "a"], FEATURES, "y", target_first=True) == (
        Mechanism("the other features", ("b", "d"), ()),
        Mechanism("y given the others", ("y",), ("b", "d")),
        Mechanism("c given the others", ("c",), ("b", "d", "y")),
        Mechanism("a given the others", ("a",), ("b", "d", "y")),
    )


def test_a_target_that_follows_the_named_features_comes_last() -> None:
    """The chain rule, in the order of naming."""
    assert by_names(["c", "a"], FEATURES, "y", target_first=False) == (
        Mechanism("the other features", ("b", "d"), ()),
        Mechanism("c given the others", ("c",), ("b", "d")),
        Mechanism("a given the others", ("a",), ("b", "d", "c")),
        Mechanism("y given all features", ("y",), ("b", "d", "c", "a")),
    )


def test_without_a_name_there_are_the_features_and_the_target() -> None:
    """P(X) and P(Y | X)."""
    assert [own.name for own in by_names([], FEATURES, "y", target_first=False)] == [
        "the other features",
        "y given all features",
    ]


def test_a_named_target_is_a_sensor_among_the_others() -> None:
    """Nothing is given a column whose sensor is in doubt."""
    assert by_names(["y", "a"], FEATURES, "y", target_first=False) == (
        Mechanism("the other features", ("b", "c", "d"), ()),
        Mechanism("y given the others", ("y",), ("b", "c", "d")),
        Mechanism("a given the others", ("a",), ("b", "c", "d")),
    )


def test_columns_outside_the_graph_have_one_law_together() -> None:
    """A column in the graph has its own, given its parents; what is no column is left out."""
    graph = {"b": ("a",), "y": ("b", "elsewhere")}
    assert by_graph(graph, FEATURES, "y") == (
        Mechanism("the other features", ("c", "d"), ()),
        Mechanism("a by itself", ("a",), ()),
        Mechanism("b given a", ("b",), ("a",)),
        Mechanism("y given b", ("y",), ("b",)),
    )


def test_a_target_without_parents_depends_on_all_that_does_not_descend_from_it() -> None:
    """Else the graph would have a cycle."""
    found = by_graph({"a": ("y",), "b": ("a", "c")}, FEATURES, "y")
    assert found[-1] == Mechanism("y given c, d", ("y",), ("c", "d"))
    assert Mechanism("b given a, c", ("b",), ("a", "c")) in found
