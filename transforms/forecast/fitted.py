"""A fitted forecaster of one target: what it predicts, and how it is saved and read back."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import BaselineError
from transforms.forecast.features import Features
from transforms.forecast.kinds import MODELS
from transforms.forecast.training import QuantileModel

Floats = NDArray[np.float64]

FORECASTER_VERSION = 2


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted forecaster of one target."""

    target: str
    levels: tuple[float, ...]
    features: Features
    model: QuantileModel
    losses: dict[str, float]  #: mean out-of-fold pinball loss of each kind tried, same rows for all
    #: shape (rows, levels): quantiles of the rows it was fitted on, from models that had not seen
    #: their fold; NaN where the target was missing. Not saved: no rows after `load`.
    out_of_fold: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False, compare=False)

    @property
    def kind(self) -> str:
        """A name of `transforms.forecast.kinds`."""
        return self.model.kind

    @property
    def model_id(self) -> str:
        """Twenty hex digits of the hash of what `save` writes."""
        content = "\0".join(self._files().values())
        return hashlib.blake2b(content.encode(), digest_size=10).hexdigest()

    def predict(self, table: pl.DataFrame) -> Floats:
        """Forecast each row.

        Parameters
        ----------
        table : DataFrame
            Holds the features, in any order and among others; nulls allowed.

        Returns
        -------
        float64 array, shape (rows, levels)
            In the unit of the target, non-decreasing along levels, never NaN.

        Raises
        ------
        SourceError
            When feature columns are missing or of another type than at fit time.
        """
        X = self.features.matrix(table)
        return self.model.quantiles(X) if len(X) else np.empty((0, len(self.levels)))

    def save(self, folder: Path) -> None:
        """Write ``forecaster.json``, and a LightGBM text file ``booster_0.txt``… for each booster.

        Each file appears whole or not at all; the JSON, which holds the boosters' hashes, last.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in reversed(self._files().items()):
            write_whole(folder / name, content)

    def _files(self) -> dict[str, str]:
        boosters = self.model.boosters
        state = {
            "version": FORECASTER_VERSION,
            "target": self.target,
            "levels": list(self.levels),
            "kind": self.kind,
            "losses": self.losses,
            "features": self.features.to_dict(),
            "boosters": [_digest(text) for text in boosters],
            "model": self.model.to_dict(),
        }
        files = {"forecaster.json": json.dumps(state, sort_keys=True, allow_nan=False)}
        return files | {f"booster_{place}.txt": text for place, text in enumerate(boosters)}


def load(folder: Path) -> Fitted:
    """Read what `Fitted.save` wrote; its predictions are bit-equal to those before.

    Raises
    ------
    BaselineError
        When files are missing, damaged, or of another version.
    """
    again = "run `tidegauge fit` again"
    try:
        state: dict[str, Any] = json.loads((folder / "forecaster.json").read_text("utf-8"))
        if state["version"] != FORECASTER_VERSION:
            raise BaselineError(
                f"{folder}: the forecaster has version {state['version']!r}, this program reads "
                f"{FORECASTER_VERSION}; {again}"
            )
        boosters = []
        for place, digest in enumerate(state["boosters"]):
            name = f"booster_{place}.txt"
            boosters.append((folder / name).read_bytes().decode("utf-8"))
            if _digest(boosters[-1]) != digest:
                raise BaselineError(f"{folder}: {name} is not the one that was fitted; {again}")
        return Fitted(
            target=state["target"],
            levels=tuple(state["levels"]),
            features=Features.from_dict(state["features"]),
            model=MODELS[state["kind"]].from_dict(state["model"], tuple(boosters)),
            losses=state["losses"],
        )
    except OSError as error:
        raise BaselineError(
            f"{folder}: the forecaster cannot be read ({error.strerror}); {again}"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BaselineError(f"{folder}: the forecaster is damaged ({error!r}); {again}") from error


def write_whole(path: Path, content: str) -> None:
    """Write a text file that appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
