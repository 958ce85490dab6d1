"""What the seeds' noise leaves: a ranking that knows every accuracy without it, an oracle, agrees with no truth wholly.

If accuracies vary as much with the seed as with the arch, a low tau says nothing against a score.
"""

from dataclasses import dataclass

import numpy as np

from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.strata import Groups, Regret, everything, plain_tau, regret

_DRAWS = 100
_ORDERED = 20_000  # archs that are put in order by the measured accuracies of the draws, about


@dataclass(frozen=True)
class Oracle:
    """What a ranking reaches that knows every network's accuracy without noise.

    Attributes:
        whole, equal_cost: its tau; nan if the truth has one seed.
        regret: its regret in each class of cost, [classes]; nan if the truth has one seed.
    """

    whole: float
    equal_cost: float
    regret: Regret


def oracle(runs: Floats, groups: Groups, *, seed: int = 0) -> Oracle:
    """Simulate it.

    Args:
        runs: accuracies in percent, [n, seeds].
        groups: the archs of each class of cost.
    """
    nothing = np.full(len(groups), np.nan)
    if runs.shape[1] < 2:
        return Oracle(np.nan, np.nan, Regret(nothing, nothing))
    true, noise = _split(runs, groups or everything(len(runs)))
    rng = np.random.default_rng(seed)
    whole, equal, losses = [], [], []
    for draw in range(_DRAWS):
        measured = true + noise * rng.normal(size=len(true))
        losses.append(regret(true, measured, groups))
        if draw < max(4, _ORDERED // len(true)):
            whole.append(plain_tau(true, measured, everything(len(true))))
            equal.append(plain_tau(true, measured, groups))
    means = [np.mean([getattr(each, name) for each in losses], axis=0) for name in Regret._fields]
    return Oracle(float(np.mean(whole)), float(np.mean(equal)), Regret(*means))


def _split(runs: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """An accuracy without noise for each arch, and the standard deviation of the noise in its mean: [n] each."""
    means, noise = runs.mean(1), np.empty(len(runs))
    true = means.copy()
    for group in groups:
        of_mean = float(np.var(runs[group], axis=1, ddof=1).mean()) / runs.shape[1]
        spread = float(np.var(means[group], ddof=1))
        kept = max(0.0, 1 - of_mean / spread) ** 0.5 if spread else 0.0
        true[group] = means[group].mean() + kept * (means[group] - means[group].mean())
        noise[group] = of_mean**0.5
    return true, noise
