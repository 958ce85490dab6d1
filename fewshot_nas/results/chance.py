"""Whether anything was learned: top-1 accuracies against those of an answer that does not look at the image."""

import math
from collections.abc import Iterable

_ERRORS = 2  # standard errors that luck may add
_MOST = 99.9  # where every image is right, something was learned


def by_guessing(most: int, images: int) -> float:
    """The top-1 in percent that naming one class for every image reaches at most: its share, and two standard errors.

    Args:
        most: how many of the images are of the most frequent class.

    >>> by_guessing(10, 100)
    16.0
    """
    share = most / images
    return round(min(100 * share + _ERRORS * 100 * math.sqrt(share * (1 - share) / images), _MOST), 4)


def no_better(top1: Iterable[float], guessing: float) -> str:
    """A warning if these top-1, in percent, are together no better than guessing; otherwise nothing.

    Their mean decides, because among many the best one is above by luck.

    >>> no_better([10.0, 30.0], 16.0)
    ''
    >>> no_better([5.0, 15.0], 13.0).partition(", and")[0]
    'warning: the mean top-1 of 2 networks is 10.00 %'
    """
    known = list(top1)
    mean = sum(known) / len(known)
    if mean > guessing:
        return ""
    what = "top-1 is" if len(known) == 1 else f"mean top-1 of {len(known)} networks is"
    return (
        f"warning: the {what} {mean:.2f} %, and naming one class for every image reaches up to {guessing:.2f} %:"
        " nothing was learned, and no ranking by it means anything; lower the learning rate, train longer, or look at"
        " the labels"
    )
