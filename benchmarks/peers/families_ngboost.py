"""Fits NGBoost, with the settings it comes with, and writes the parameters of every test row.

Run in an environment of its own by `benchmarks.families`: the family, a file of arrays and where to
write. Prints the CPU seconds of fit and prediction.
"""

from __future__ import annotations

import sys
import time

import ngboost
import numpy as np
from ngboost.distns import LogNormal, Normal


def main() -> None:
    """Fit and predict each fold."""
    family, source, target = sys.argv[1:]
    data = np.load(source)
    law = {"normal": Normal, "lognormal": LogNormal}[family]
    location, scale = np.empty((2, len(data["y"])))
    begin = time.process_time()
    for fold in np.unique(data["fold"][data["fold"] >= 0]):
        test = data["fold"] == fold
        model = ngboost.NGBRegressor(Dist=law, verbose=False, random_state=1)
        model.fit(data["X"][~test], data["y"][~test])
        found = model.pred_dist(data["X"][test]).params
        if family == "normal":
            location[test], scale[test] = found["loc"], found["scale"]
        else:
            location[test], scale[test] = np.log(found["scale"]), found["s"]
    spent = time.process_time() - begin
    np.save(target, np.array([location, scale]))
    print(spent)


if __name__ == "__main__":
    main()
