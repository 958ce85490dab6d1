"""From scores, costs and a few stand-alone accuracies to every arch's accuracy, with its uncertainty.

A Gaussian process: linear in the evidence (what is known without truth) and in the features, plus a
smooth rest. The evidence has the larger prior, so that a few truths only correct it, while many may
overrule it. Four variances are fitted by the marginal likelihood of the truths at hand, nothing
else is. Its predictions are averaged with the ranking without truth.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.features import standardised, weighted
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.smoothing import Estimate

Rows = NDArray[np.int64] | NDArray[np.bool_]

FEWEST_TRUTHS = 10
MOST_TRUTHS = 1_000  # fitting takes steps that grow with their cube; of more truths so many are drawn
_AT_ONCE = 4_096  # archs that are predicted at a time, which bounds the memory
EVIDENCE_WEIGHT = 3.0  # a priori, how much more the evidence says than a column of the features
PRIOR_TRUTHS = 10  # as many truths as the ranking without truth is worth, when the two are averaged


@dataclass(frozen=True)
class PredictorInputs:
    """What a predictor goes by.

    Attributes:
        columns: evidence and features, standardised over all archs, [n, columns].
        prior: the ranking without truth, on any scale, [n]; None where there is none.
    """

    columns: Floats
    prior: Floats | None = None

    def of(self, rows: Rows) -> "PredictorInputs":
        """Those of some archs."""
        return PredictorInputs(self.columns[rows], None if self.prior is None else self.prior[rows])


def inputs(evidence: Floats, described: Floats) -> PredictorInputs:
    """Of all archs.

    Args:
        evidence: combined scores, and what smoothing took away from them, [n, any]; the first column is the ranking
            without truth. Without any column, shapes and costs have to do.
        described: `features` of the same archs, [n, any].
    """
    count = evidence.shape[1]
    weight = EVIDENCE_WEIGHT / max(count, 1) ** 0.5
    return PredictorInputs(
        np.hstack([weight * standardised(evidence), weighted(described)]), evidence[:, 0] if count else None
    )


def can_predict(truth: Floats) -> bool:
    """Whether these truths, nan where there is none, suffice for a predictor: there are enough, and they differ."""
    known = truth[~np.isnan(truth)]
    return len(known) >= FEWEST_TRUTHS and bool(known.min() < known.max())


def predict(known: PredictorInputs, truth: Floats, wanted: PredictorInputs) -> Estimate:
    """Predict the accuracies of `wanted` archs from those of known ones.

    A few truths tell a Gaussian process less than the ranking without truth tells: ten of them
    ranked worse than none. So that ranking, brought to the scale of the truths, counts as
    `PRIOR_TRUTHS` of them.

    Args:
        known: of archs with a truth.
        truth: theirs, [k].
        wanted: of n archs.

    Returns:
        The standard deviation is that of an arch's accuracy without a seed's noise.

    Raises:
        InputError: too few truths.
    """
    fitted = Estimate(*_fitted(known.columns, truth).predict(wanted.columns))
    if known.prior is None or wanted.prior is None:
        return fitted
    return _mixture(fitted, _scaled(known.prior, truth, wanted.prior), len(truth) / (len(truth) + PRIOR_TRUTHS))


def _scaled(known: Floats, truth: Floats, wanted: Floats) -> Estimate:
    """A ranking with mean and spread of the truths; its error is how far it is off where these are known."""
    slope = float(np.std(truth) / (np.std(known) or 1.0))
    off = truth - truth.mean() - slope * (known - known.mean())
    value = truth.mean() + slope * (wanted - known.mean())
    return Estimate(value, np.full(len(wanted), np.std(off)))


def _mixture(one: Estimate, other: Estimate, weight: float) -> Estimate:
    """Mean and standard deviation of two predictions of which the first is right with the probability `weight`."""
    value = weight * one.value + (1 - weight) * other.value
    parts = ((weight, one), (1 - weight, other))
    return Estimate(value, np.sqrt(sum(share * (each.error**2 + (each.value - value) ** 2) for share, each in parts)))


@dataclass(frozen=True)
class _Fitted:
    process: Any
    noise: float

    def predict(self, wanted: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each, a few at a time: the whole covariance is never needed."""
        parts = [wanted[start : start + _AT_ONCE] for start in range(0, max(len(wanted), 1), _AT_ONCE)]
        each = [self.process.predict(part, return_std=True) for part in parts]
        value, error = (np.concatenate(side) for side in zip(*each, strict=True))
        return value, np.sqrt(np.maximum(error**2 - self.noise, 0))


def _fitted(known: Floats, truth: Floats) -> _Fitted:
    if len(truth) < FEWEST_TRUTHS:
        raise InputError(f"{len(truth)} truths, expected at least {FEWEST_TRUTHS} to fit a predictor")
    if len(truth) > MOST_TRUTHS:
        drawn = np.sort(np.random.default_rng(0).permutation(len(truth))[:MOST_TRUTHS])
        known, truth = known[drawn], truth[drawn]
    process = GaussianProcessRegressor(_kernel(known.shape[1]), normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a variance at its bound is an answer, too
        process.fit(known, truth)
    scale = float(np.var(truth))
    return _Fitted(process, scale * float(process.kernel_.k2.noise_level))


def _kernel(columns: int) -> Any:
    linear = ConstantKernel(0.3 / EVIDENCE_WEIGHT**2, (1e-5, 0.1)) * DotProduct(0, "fixed")
    rest = ConstantKernel(0.1, (1e-4, 1)) * RBF(2 * columns**0.5, (columns**0.5, 10 * columns**0.5))
    return linear + rest + WhiteKernel(0.1, (1e-2, 1))
