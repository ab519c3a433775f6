"""Weights that undo a target shift, from inputs without labels: ReTaSA (Kim et al., ICLR 2024).

Under target shift p(x|y) holds and p(y) moves. With ω(y) = p_after(y) / p_before(y) and ρ = ω − 1,

    (T ρ)(x) = E_before[ρ(Y) | X = x] = p_after(x) / p_before(x) − 1 = η(x),

an integral equation of the first kind, solved with Tikhonov's penalty α and T†ψ = E[ψ(X) | Y]:

    (α I + T† T) ρ = T† η.

T and T† are Nadaraya–Watson regressions, η the ratio of two kernel densities. The target is binned
linearly on nodes a quarter of a bandwidth apart (Wand, JCGS 1994), and so are the inputs where they
are one column: the system has the size of the nodes, not of the rows.

The paper gives no rule for α. Here α and the bandwidth in y are those with the least squared error
of the weights when a pilot estimate is taken for the truth: reference rows are drawn again, and the
rows of a window from the reference by the pilot's weights (a bootstrap from a fitted model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitors.encoder import FloatArray
from schemas.errors import ReferenceDataError

MOST_ROWS = 1_000  # of either set: kernels between all pairs are held in memory
FEWEST_ROWS = 30
_PER_WIDTH = 2  # nodes per bandwidth: binning then adds 4 % to the kernel's variance
_MOST_NODES = 200  # a target with outliers gets wider bandwidths instead
_WIDTHS = (1.0, 1.5, 2.0, 3.0)  # bandwidths in y to choose from, in units of the normal rule's
_PENALTIES = tuple(float(alpha) for alpha in 10.0 ** np.arange(-3.0, 0.25, 0.5))
_PILOT = (1.5, 10.0**-1.5)  # width and α that the choice starts from
# The weights of least error are drawn towards no shift. Where their bias matters more than their
# variance (a test, a mean), a smaller penalty trades one for the other.
UNDERSMOOTH = 0.1
_DRAWS = 20  # of the bootstrap that chooses
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Binned:
    """Reference rows on nodes, and the kernels between nodes."""

    x_place: (
        FloatArray | None
    )  #: shape (n, g): shares of a row at each x-node; None: rows are nodes
    y_place: FloatArray  #: shape (n, h), likewise in y
    kernel_x: FloatArray  #: shape (g, g)
    nodes: FloatArray  #: shape (h,): y-nodes, increasing, in the target's unit
    width: float  #: bandwidth in y by the normal reference rule, in that unit

    def joint(self, counts: FloatArray) -> FloatArray:
        """Return the masses of (x, y) at the nodes, shape (..., g, h).

        Parameters
        ----------
        counts : FloatArray, shape (..., n): how often each row is drawn.
        """
        spread: FloatArray = counts[..., None] * self.y_place / counts.sum(-1)[..., None, None]
        return spread if self.x_place is None else self.x_place.T @ spread

    def density(self, counts: FloatArray) -> FloatArray:
        """Return the kernel density of x at the x-nodes (unnormalised), shape (..., g)."""
        share = counts / counts.sum(-1, keepdims=True)
        mass: FloatArray = (share if self.x_place is None else share @ self.x_place) @ self.kernel_x
        return mass

    def solve(
        self,
        joint: FloatArray,
        after: FloatArray,
        width: float,
        penalties: Sequence[float],
    ) -> FloatArray:
        """Return ω at the y-nodes for each penalty, shape (..., penalties, h), before scaling.

        Parameters
        ----------
        joint : FloatArray, shape (..., g, h): masses of reference rows.
        after : FloatArray, shape (..., g): density of the window's x at the x-nodes.
        width : bandwidth in y, in the target's unit.
        penalties : values of α, all positive.
        """
        kernel_y = gaussian(self.nodes[:, None], self.nodes[:, None], np.array([width]))
        forward = self.kernel_x @ joint
        before = np.maximum(forward.sum(axis=-1, keepdims=True), _TINY)
        forward = forward / before  # T
        eta = after[..., None] / before - 1.0
        spread = kernel_y @ np.swapaxes(joint, -1, -2)
        back = spread / np.maximum(spread.sum(axis=-1, keepdims=True), _TINY)  # T†
        system, right = back @ forward, back @ eta
        ridge = np.asarray(penalties)[:, None, None] * np.eye(len(self.nodes))
        rho = np.linalg.solve(ridge + system[..., None, :, :], right[..., None, :, :])
        omega: FloatArray = np.maximum(1.0 + rho[..., 0], 0.0)
        return omega

    def weights(self, omega: FloatArray, counts: FloatArray) -> FloatArray:
        """Return the weights of the rows, shape (..., n), of mean 1 over the rows as drawn."""
        found = omega @ self.y_place.T
        scale = (found * counts).sum(axis=-1, keepdims=True) / counts.sum(axis=-1, keepdims=True)
        result: FloatArray = found / np.maximum(scale, _TINY)
        return result


@dataclass(frozen=True, slots=True)
class TargetWeights:
    """The estimated ratio p_after(y) / p_before(y)."""

    weights: FloatArray  #: shape (n,): of the reference's rows, mean 1
    mean_after: float  #: of y in the window, with `UNDERSMOOTH` times the penalty
    penalty: float  #: α
    width: float  #: bandwidth in y, in the target's unit
    nodes: FloatArray  #: shape (h,): values of y
    ratio: FloatArray  #: shape (h,): ω there

    @property
    def effective_rows(self) -> float:
        """(Σ ω)² / Σ ω²: how many unweighted rows would say as much (Kish)."""
        return effective_rows(self.weights)

    def at(self, y: FloatArray) -> FloatArray:
        """Return ω of any values of the target; beyond the reference's range, that at its end.

        At a node this is the paper's formula for new values, ρ(y) = (1/α) T†(η − T ρ)(y), which is
        the equation itself, solved for its first term; between nodes it is linear.
        """
        return np.interp(y, self.nodes, self.ratio)


def retasa(x: FloatArray, y: FloatArray, x_after: FloatArray, *, seed: int) -> TargetWeights:
    """Estimate ω(y) = p_after(y) / p_before(y) on reference rows, whose target is known.

    Parameters
    ----------
    x : FloatArray, shape (n, d)
        The reference's inputs. Kernel densities serve a few columns: give a prediction of y in
        place of many, made by a model that has not seen these rows.
    y : FloatArray, shape (n,), in the target's unit
    x_after : FloatArray, shape (m, d): the window's inputs.
    seed : of the bootstrap that chooses α and the bandwidth.

    Raises
    ------
    ReferenceDataError
        When rows are fewer than `FEWEST_ROWS` or more than `MOST_ROWS`, or a column is constant.
    """
    fewest, most = sorted((len(x), len(x_after)))
    if fewest < FEWEST_ROWS or most > MOST_ROWS:
        raise ReferenceDataError(
            f"target shift is estimated from {FEWEST_ROWS} to {MOST_ROWS} rows before and after, "
            f"not from {len(x)} and {len(x_after)}: give more, or a sample"
        )
    if not (y.std() > 0.0 and (x.std(axis=0) > 0.0).all()):
        raise ReferenceDataError(
            "target shift needs a target and inputs that vary in the reference: leave out columns "
            "that are constant"
        )
    binned, after = bin_rows(x, y, x_after)
    once = np.ones(len(y))
    width, penalty = choose(binned, after, len(x_after), np.random.default_rng(seed))
    omega, rough = binned.solve(binned.joint(once), after, width, (penalty, UNDERSMOOTH * penalty))
    unscaled = omega @ binned.y_place.T
    scale = max(float(unscaled.mean()), _TINY)
    return TargetWeights(
        weights=unscaled / scale,
        mean_after=float(binned.weights(rough, once) @ y / len(y)),
        penalty=penalty,
        width=width,
        nodes=binned.nodes,
        ratio=omega / scale,
    )


def bin_rows(x: FloatArray, y: FloatArray, x_after: FloatArray) -> tuple[Binned, FloatArray]:
    """Place reference rows on nodes; also return the density of the window's x at the x-nodes.

    Bandwidths are the normal reference rule's, 1.06 σ n^(−1/(4 + d)) (Scott, Multivariate Density
    Estimation, §6.3), of each column of the reference.
    """
    width = 1.06 * float(y.std()) * len(y) ** -0.2
    nodes, width = _nodes(y, width)
    widths = 1.06 * x.std(axis=0) * len(x) ** (-1.0 / (4.0 + x.shape[1]))
    if x.shape[1] > 1:
        kernel = gaussian(x, x, widths)
        binned = Binned(None, place_on(y, nodes), kernel, nodes, width)
        return binned, gaussian(x, x_after, widths).mean(axis=1)
    x_nodes, x_width = _nodes(np.concatenate([x, x_after])[:, 0], float(widths[0]))
    kernel = gaussian(x_nodes[:, None], x_nodes[:, None], np.array([x_width]))
    binned = Binned(place_on(x[:, 0], x_nodes), place_on(y, nodes), kernel, nodes, width)
    return binned, place_on(x_after[:, 0], x_nodes).mean(axis=0) @ kernel


def choose(
    binned: Binned, after: FloatArray, rows_after: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the bandwidth in y and the α that serve best if the pilot's weights were true."""
    n = len(binned.y_place)
    once = np.ones(n)
    pilot = binned.weights(
        binned.solve(binned.joint(once), after, _PILOT[0] * binned.width, _PILOT[1:])[0], once
    )
    errors = np.zeros((len(_WIDTHS), len(_PENALTIES)))
    for _ in range(_DRAWS):
        counts = rng.multinomial(n, once / n).astype(np.float64)
        drawn = binned.density(rng.multinomial(rows_after, pilot / pilot.sum()).astype(np.float64))
        joint = binned.joint(counts)
        for place, factor in enumerate(_WIDTHS):
            omega = binned.solve(joint, drawn, factor * binned.width, _PENALTIES)
            errors[place] += ((binned.weights(omega, counts) - pilot) ** 2).mean(axis=-1)
    best = np.unravel_index(int(errors.argmin()), errors.shape)
    return _WIDTHS[int(best[0])] * binned.width, _PENALTIES[int(best[1])]


def effective_rows(weights: FloatArray) -> float:
    """Return (Σ ω)² / Σ ω², Kish's effective sample size."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def gaussian(a: FloatArray, b: FloatArray, widths: FloatArray) -> FloatArray:
    """Return exp(−|(a_i − b_j) / h|² / 2), shape (rows of a, rows of b)."""
    from scipy.spatial.distance import cdist

    kernel: FloatArray = np.exp(-0.5 * cdist(a / widths, b / widths, "sqeuclidean"))
    return kernel


def _nodes(values: FloatArray, width: float) -> tuple[FloatArray, float]:
    """Return equally spaced nodes over the range of the values, and the bandwidth they allow."""
    low, high = float(values.min()), float(values.max())
    width = max(width, _PER_WIDTH * (high - low) / _MOST_NODES)
    count = int(np.ceil((high - low) / width * _PER_WIDTH)) + 1
    return np.linspace(low, high, max(count, 2)), width


def place_on(values: FloatArray, nodes: FloatArray) -> FloatArray:
    """Return the shares of each value at the nodes beside it, shape (values, nodes).

    Parameters
    ----------
    values : FloatArray, shape (k,)
    nodes : FloatArray, increasing, at least two
    """
    left = np.clip(np.searchsorted(nodes, values, "right") - 1, 0, len(nodes) - 2)
    share = np.clip((values - nodes[left]) / (nodes[left + 1] - nodes[left]), 0.0, 1.0)
    placed = np.zeros((len(values), len(nodes)))
    rows = np.arange(len(values))
    placed[rows, left], placed[rows, left + 1] = 1.0 - share, share
    return placed
