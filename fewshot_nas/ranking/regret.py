"""What is lost by training the archs that a ranking puts first, instead of the best: in each class of cost."""

from typing import NamedTuple

import numpy as np

from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.strata import Groups

TEN = 10


class Regret(NamedTuple):
    """The best accuracy of a class less the accuracy of an arch that a ranking finds, in points, [classes].

    Attributes:
        first: of the arch that is predicted to be the best.
        ten: of the best of the ten that are.
    """

    first: Floats
    ten: Floats


def regret(values: Floats, truth: Floats, groups: Groups) -> Regret:
    """The regret in each class; of archs with equal values, those that come first count as better.

    Args:
        values: the ranking, [n].
        truth: in percent, [n].
    """
    found = [truth[group[np.argsort(-values[group], kind="stable")[:TEN]]] for group in groups]
    best = np.array([truth[group].max() for group in groups])
    first, ten = (np.array([pick(each) for each in found]) for pick in (lambda each: each[0], np.max))
    return Regret(best - first, best - ten)
