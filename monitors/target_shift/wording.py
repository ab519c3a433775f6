"""The verdict that p-values come to, and its sentence."""

from __future__ import annotations

from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["none", "target", "covariate", "both", "unknown"]

LEVEL = 0.05


def verdict_of(p_moved: float, p_target: float, p_covariate: float | None) -> Verdict:
    """Return what moved.

    Without labels, inputs that target shift explains are called target shift, and others are
    `unknown`: covariate shift and both look alike. With labels, that anything moved is judged by
    the inputs and by the target given them, half the level each.
    """
    if p_covariate is None:
        if p_moved > LEVEL:
            return "none"
        return "target" if p_target > LEVEL else "unknown"
    if min(p_moved, p_covariate) > LEVEL / 2.0:
        return "none"
    held = (p_target > LEVEL, p_covariate > LEVEL)
    found: dict[tuple[bool, bool], Verdict] = {
        (True, False): "target",
        (False, True): "covariate",
        (False, False): "both",
        (True, True): "unknown",
    }
    return found[held]


def sentence(
    verdict: Verdict,
    p_moved: float,
    p_target: float,
    p_covariate: float | None,
    means: tuple[float, float],
) -> str:
    """Say the verdict, for whoever is paged.

    Parameters
    ----------
    means : of the target in the reference, and in the window by the weights.
    """
    moved = f"the inputs moved (p {p_moved:.2g})"
    change = (
        f"the target's distribution moved (mean {means[0]:.4g} → {means[1]:.4g}, by the inputs)"
    )
    if p_covariate is None:
        unlabelled = {
            "none": f"the inputs did not move (p {p_moved:.2g})",
            "target": (
                f"the inputs are as if {change} and nothing else (p {p_target:.2g}): then "
                "reweighting the forecaster is a remedy; the window's targets would tell"
            ),
        }
        otherwise = (
            f"{moved}, and no change of the target's distribution alone explains it "
            f"(p {p_target:.2g}); without the window's targets, no more can be told"
        )
        return unlabelled.get(verdict, otherwise)
    least = min(1.0, 2.0 * min(p_moved, p_covariate))
    labelled = {
        "none": f"neither the inputs nor the target given them moved (p {least:.2g})",
        "target": (
            f"{change}; the inputs given the target did not (p {p_target:.2g}): reweighting the "
            "forecaster is a remedy"
        ),
        "covariate": (
            f"{moved}, the target given them did not (p {p_covariate:.2g}): the forecast holds "
            "where the reference has such inputs"
        ),
        "both": (
            f"neither the inputs given the target (p {p_target:.2g}) nor the target given the "
            f"inputs (p {p_covariate:.2g}) are as before: no weights undo it, fit again"
        ),
        "unknown": (
            f"{moved}; a change of the target's distribution alone would explain it "
            f"(p {p_target:.2g}), and so would one of the inputs' alone (p {p_covariate:.2g})"
        ),
    }
    return labelled[verdict]
