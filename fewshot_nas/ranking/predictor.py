"""From scores, costs and a few stand-alone accuracies to every arch's accuracy, with its uncertainty.

Three models predict: a Gaussian process that is linear in the evidence (what is known without truth) and in the
features, plus a smooth rest; the same without the evidence; and the ranking without truth as it is. Each counts by how
well it predicts truths that were left out of its fit. So scores of a good supernet make predictions better, while
those of one that has learned little are left aside. In the first process the evidence has the larger prior, so that a
few truths only correct it. Four variances are fitted by the marginal likelihood of the truths, nothing else is.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised

Rows = NDArray[np.int64] | NDArray[np.bool_]

FEWEST_TRUTHS = 10
MOST_TRUTHS = 1_000  # fitting takes steps that grow with their cube; of more truths so many are drawn
_AT_ONCE = 4_096  # archs that are predicted at a time, which bounds the memory
_STEPS = 200  # of the models' shares, which converge in a few dozen
EVIDENCE_WEIGHT = 3.0  # a priori, how much more the evidence says than a column of the features


@dataclass(frozen=True)
class Estimate:
    """A value for each arch, and the standard deviation of its error; both [n]."""

    value: Floats
    error: Floats


@dataclass(frozen=True)
class PredictorInputs:
    """What a predictor goes by, each column standardised over all archs and weighted.

    Attributes:
        evidence: what is known without truth, [n, any]; its first column is the ranking without truth. There may be
            no column.
        shapes: the features, [n, any].
    """

    evidence: Floats
    shapes: Floats

    @property
    def columns(self) -> Floats:
        """Evidence and features side by side."""
        return np.hstack([self.evidence, self.shapes])

    def of(self, rows: Rows) -> "PredictorInputs":
        """Those of some archs."""
        return PredictorInputs(self.evidence[rows], self.shapes[rows])


def inputs(evidence: Floats, described: Floats, weights: Floats | None = None) -> PredictorInputs:
    """Of all archs.

    Args:
        evidence: combined scores, and what smoothing took away from them, [n, any]; the first column is the ranking
            without truth. Without any column, shapes and costs have to do.
        described: `features` of the same archs, [n, any].
        weights: theirs, [any]; all 1 if None.
    """
    weight = EVIDENCE_WEIGHT / max(evidence.shape[1], 1) ** 0.5
    each = standardised(described) * (1.0 if weights is None else weights)
    return PredictorInputs(weight * standardised(evidence), each)


def can_predict(truth: Floats) -> bool:
    """Whether these truths, nan where there is none, suffice for a predictor: there are enough, and they differ."""
    known = truth[~np.isnan(truth)]
    return len(known) >= FEWEST_TRUTHS and bool(known.min() < known.max())


def predict(known: PredictorInputs, truth: Floats, wanted: PredictorInputs) -> Estimate:
    """Predict the accuracies of `wanted` archs from those of known ones.

    Args:
        known: of archs with a truth.
        truth: theirs, [k].
        wanted: of n archs.

    Returns:
        The standard deviation is that of an arch's accuracy without a seed's noise.

    Raises:
        InputError: too few truths.
    """
    if len(truth) < FEWEST_TRUTHS:
        raise InputError(f"{len(truth)} truths, expected at least {FEWEST_TRUTHS} to fit a predictor")
    if len(truth) > MOST_TRUTHS:
        drawn = np.sort(np.random.default_rng(0).permutation(len(truth))[:MOST_TRUTHS])
        known, truth = known.of(drawn), truth[drawn]
    models = [_process(known.shapes, truth, wanted.shapes)]
    if known.evidence.shape[1]:
        models.append(_process(known.columns, truth, wanted.columns))
        models.append(_scaled(known.evidence[:, 0], truth, wanted.evidence[:, 0]))
    return _average(models)


class _Model(NamedTuple):
    """A prediction, and the logarithm of the density that each truth has by the others, [k]."""

    estimate: Estimate
    left_out: Floats


def _average(models: Sequence[_Model]) -> Estimate:
    """The mixture under which the truths, each left out once, are most probable (stacking, arXiv:1704.02030).

    Each model is taken to have been right once more than it was, so that few truths rule out no model.
    """
    each = np.stack([model.left_out for model in models])
    densities = np.exp(each - each.max(0))
    shares = np.full(len(models), 1 / len(models))
    for _ in range(_STEPS):
        right = shares[:, None] * densities
        shares = (right / right.sum(0)).sum(1) + 1
        shares /= shares.sum()
    weighted = list(zip(shares, (model.estimate for model in models), strict=True))
    value = sum(share * one.value for share, one in weighted)
    variance = sum(share * (one.error**2 + (one.value - value) ** 2) for share, one in weighted)
    return Estimate(value, np.sqrt(variance))


def _scaled(known: Floats, truth: Floats, wanted: Floats) -> _Model:
    """A ranking with mean and spread of the truths; its error is how far it is off where these are known."""
    slope = float(np.std(truth) / (np.std(known) or 1.0))
    off = truth - truth.mean() - slope * (known - known.mean())
    value = truth.mean() + slope * (wanted - known.mean())
    left_out = (np.sum(off**2) - off**2) / (len(off) - 1)
    return _Model(Estimate(value, np.full(len(wanted), np.std(off))), _density(off, left_out))


def _process(known: Floats, truth: Floats, wanted: Floats) -> _Model:
    """A Gaussian process; its errors are without the noise of a truth."""
    process = GaussianProcessRegressor(_kernel(known.shape[1]), normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a variance at its bound is an answer, too
        process.fit(known, truth)
    scale = float(np.std(truth)) or 1.0
    # What each truth is by the others follows from the inverse covariance (Rasmussen and Williams, 2006, 5.4.2).
    inverse = np.linalg.inv(process.kernel_(known) + process.alpha * np.eye(len(truth)))
    variance = 1 / np.diag(inverse)
    off = scale * variance * (inverse @ ((truth - truth.mean()) / scale))
    # A few at a time: the whole covariance is never needed.
    parts = [wanted[start : start + _AT_ONCE] for start in range(0, max(len(wanted), 1), _AT_ONCE)]
    each = [process.predict(part, return_std=True) for part in parts]
    value, error = (np.concatenate(side) for side in zip(*each, strict=True))
    noise = scale**2 * float(process.kernel_.k2.noise_level)
    estimate = Estimate(value, np.sqrt(np.maximum(error**2 - noise, 0)))
    return _Model(estimate, _density(off, scale**2 * variance))


def _density(off: Floats, variance: Floats) -> Floats:
    """The logarithms of normal densities, [k]."""
    bounded = np.maximum(variance, 1e-12)
    return np.asarray(-0.5 * (np.log(2 * np.pi * bounded) + off**2 / bounded), dtype=np.float64)


def _kernel(columns: int) -> Any:
    linear = ConstantKernel(0.3 / EVIDENCE_WEIGHT**2, (1e-5, 0.1)) * DotProduct(0, "fixed")
    rest = ConstantKernel(0.1, (1e-4, 1)) * RBF(2 * columns**0.5, (columns**0.5, 10 * columns**0.5))
    return linear + rest + WhiteKernel(0.1, (1e-2, 1))
