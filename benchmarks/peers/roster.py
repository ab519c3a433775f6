"""Who is asked, what each tool is meant for, and how often it is asked."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.settings import Setting


@dataclass(frozen=True, slots=True)
class Contender:
    """One call of one peer; it may answer by several rules."""

    peer: str
    call: str
    looks_at: str
    rules: tuple[str, ...]
    about: str
    most: int = 1000  #: trials in a setting
    curves: bool = True  #: whether it is asked for the points of the curves
    mixed: bool = True  #: whether it takes categories and gaps

    def trials(self, setting: Setting, asked: int) -> int:
        """Return how many trials it gets in a setting."""
        if (setting.mixed and not self.mixed) or not (setting.main or self.curves):
            return 0
        return min(asked, self.most)


ROSTER = (
    Contender(
        "tidegauge",
        "compare",
        "each column given all others",
        ("tidegauge check",),
        "Names the column that no longer follows the others; 5 % is the rate of the whole table.",
    ),
    Contender(
        "scipy",
        "columns",
        "each column alone",
        ("SciPy by column",),
        "The plain floor: KS for numbers, chi-square for categories, 5 % / columns each "
        "(Bonferroni); gaps left out.",
    ),
    Contender(
        "evidently",
        "drift_preset",
        "each column alone",
        (
            "Evidently, half of the columns",
            "Evidently, any column",
            "Evidently, any column, threshold / columns",
        ),
        "Reports for people on how data differ. `DataDriftPreset`: with up to 1,000 rows KS or "
        "chi-square at 0.05 per column; the table drifts when half of its columns do. Beside this "
        "default: an alarm for any such column, and the same at 0.05 / columns.",
        most=6,
        curves=False,
    ),
    Contender(
        "alibi_detect",
        "columns",
        "each column alone",
        ("alibi-detect KSDrift / TabularDrift",),
        "Detectors for tables, images and text. Defaults: KS (chi-square for categories), "
        "Bonferroni at 5 %. Takes no gaps: they are filled with the reference's median.",
    ),
    Contender(
        "alibi_detect",
        "mmd",
        "all columns together",
        ("alibi-detect MMDDrift",),
        "Kernel two-sample test of the joint distribution, 100 permutations, p < 0.05; defaults, "
        "TensorFlow backend. Made for embeddings; names no column.",
        most=6,
        curves=False,
        mixed=False,
    ),
    Contender(
        "nannyml",
        "univariate",
        "each column alone",
        ("NannyML univariate",),
        "Monitors deployed models over many chunks; its thresholds are spreads of the reference's "
        "chunks. Here both tables are cut into its default of ten chunks, of 100 rows: fewer than "
        "it is meant for. An alarm in any chunk counts. Jensen-Shannon distance.",
        most=20,
    ),
    Contender(
        "nannyml",
        "reconstruction",
        "all columns together",
        ("NannyML PCA",),
        "The same chunks: error of rows rebuilt from principal components. Names no column.",
        most=20,
    ),
    Contender(
        "nannyml",
        "quality",
        "gaps and new values",
        ("NannyML data quality",),
        "The same chunks: shares of missing and of unseen values, per column.",
        most=20,
        curves=False,
    ),
    Contender(
        "frouros",
        "columns",
        "each column alone",
        ("Frouros by column, p < 0.05 each", "Frouros by column, Bonferroni"),
        "A library of detectors that give p-values; the rule is the user's, so here are two. "
        "Gaps left out.",
    ),
    Contender(
        "frouros",
        "mmd",
        "all columns together",
        ("Frouros MMD",),
        "Kernel two-sample test, 100 permutations, p < 0.05, bandwidth by the median distance "
        "(its default of 1 sees nothing in 25 columns). Names no column.",
        most=6,
        curves=False,
        mixed=False,
    ),
)
