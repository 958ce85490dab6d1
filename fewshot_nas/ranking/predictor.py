"""From scores, costs and a few stand-alone accuracies to every arch's accuracy, with its uncertainty.

A Gaussian process: linear in the evidence (what is known without truth) and in the features, plus a
smooth rest. The evidence has the larger prior, so that a few truths only correct it, while many may
overrule it. Four variances are fitted by the marginal likelihood of the truths at hand, nothing
else is.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from fewshot_nas.errors import InputError
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.smoothing import Estimate

FEWEST_TRUTHS = 10
EVIDENCE_WEIGHT = 10.0  # a priori, how much more the evidence says than a column of the features


def inputs(evidence: Floats, described: Floats) -> Floats:
    """What a predictor goes by, [n, columns]: all of it standardised over all archs.

    Args:
        evidence: combined scores, and what smoothing took away from them, [n, any].
        described: `features` of the same archs, [n, any].
    """
    weight = EVIDENCE_WEIGHT / evidence.shape[1] ** 0.5
    return np.hstack([weight * standardised(evidence), standardised(described)])


def predict(known: Floats, truth: Floats, wanted: Floats) -> Estimate:
    """Predict the accuracies of `wanted` archs from those of known ones.

    Args:
        known: `inputs` of archs with a truth, [k, columns].
        truth: theirs, [k].
        wanted: `inputs`, [n, columns].

    Returns:
        The standard deviation is that of an arch's accuracy without a seed's noise.

    Raises:
        InputError: too few truths.
    """
    return Estimate(*_fitted(known, truth).predict(wanted))


@dataclass(frozen=True)
class _Fitted:
    process: Any
    noise: float

    def predict(self, wanted: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each, a few at a time: the whole covariance is never needed."""
        value, error = self.process.predict(wanted, return_std=True)
        return value, np.sqrt(np.maximum(error**2 - self.noise, 0))


def _fitted(known: Floats, truth: Floats) -> _Fitted:
    if len(truth) < FEWEST_TRUTHS:
        raise InputError(f"{len(truth)} truths, expected at least {FEWEST_TRUTHS} to fit a predictor")
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
