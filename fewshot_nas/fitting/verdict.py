"""What the answer says in words: who won, by how much, at what cost, and whether that may be chance."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fewshot_nas.fitting.look import UNEVEN
from fewshot_nas.fitting.opponents import NEAR
from fewshot_nas.records.journal import records
from fewshot_nas.results.evaluations import no_better

TITLES = {
    "found": "the found network",
    "reference": "ResNet-18 narrowed",
    "random": "a random network",
}
_COLUMNS = {"macs": "macs", "params": "params", "latency": "latency_us"}  # of a network's row, by measure
_WORDS = {"macs": "multiply-adds", "params": "parameters", "latency": "time"}


@dataclass(frozen=True)
class Terms:
    """By what networks are compared, and why some are not.

    Attributes:
        by: the accuracy that decides.
        cost: the measure of the first bound.
        left_out: the reason for each step that was not made.
        beyond: the networks beyond the bounds, of which none is the result unless there is no other.
    """

    by: Literal["top1", "balanced"]
    cost: str
    left_out: Mapping[str, str]
    beyond: Collection[str] = ()

    @classmethod
    def of(cls, uneven: float, cost: str, left_out: Mapping[str, str], beyond: Collection[str]) -> "Terms":
        """Those for classes whose largest has so many times as many training images as the smallest."""
        return cls("balanced" if uneven > UNEVEN else "top1", cost, left_out, beyond)


def sentence(found: Mapping[str, Any], terms: Terms) -> str:
    """Who won, by how much, at what cost, and whether that may be chance.

    Args:
        found: see `answered`: the networks, the winner, the differences and the number of images.
    """
    rows, by = found["networks"], terms.by
    what = "mean accuracy of the classes" if by == "balanced" else "accuracy"
    won = rows[found["winner"]]
    title = won["title"][0].upper() + won["title"][1:]
    said = (
        f"{title} is the result: {what} {_percent(won[by])} on {found['images']:,} test images,"
        f" {won['macs'] / 1e6:.1f} M multiply-adds, {won['latency_us'] / 1e3:.2f} ms in torch."
    )
    if found["winner"] in terms.beyond:
        said += " It is beyond the bounds, as no other network was trained."
    for name, (value, low, high) in found["differences"].items():
        other, column, place = rows[name], _COLUMNS[terms.cost], "above"
        if value < 0:  # of one beyond the bounds
            value, low, high, place = -value, -high, -low, "below"
        sure = "beyond chance" if low > 0 else "which may be chance"
        which = f"{other['title']}, beyond the bounds" if name in terms.beyond else other["title"]
        said += (
            f" It is {value:.1f} points [{low:.1f}, {high:.1f}] {place} {which}, {sure}; that one has"
            f" {_percent(other[by])}, {other['macs'] / 1e6:.1f} M multiply-adds and {other['latency_us'] / 1e3:.2f} ms,"
            f" so by {_WORDS[terms.cost]} it {_dearer(other[column] / won[column])}."
        )
    if not found["differences"]:
        why = terms.left_out.get("found") or terms.left_out["reference"]
        return f"{said} It was compared with no other network ({why})."
    return f"{said} As these images decided, its accuracy is a little too high."


def unfit(accuracy: Sequence[float], guessing: float) -> str:
    """That a network may be no better than a guess; empty if it is.

    Args:
        accuracy: in percent, with its interval.
        guessing: the share of the images that naming one class for all of them has right.
    """
    if accuracy[1] > 100 * guessing:
        return ""
    return (
        f" Do not use it: naming one class for every image reaches {100 * guessing:.1f} %, which is not below its"
        " interval. Start anew (another --save) with more budget, more images, or fewer classes."
    )


def unlearned(journal: Path) -> str:
    """That the supernet had learned nothing when the search went by it; empty if it had.

    Args:
        journal: of the search, with the accuracies of all networks that it scored.
    """
    rows = list(records(journal))
    guessing = next(row["manifest"]["guessing"] for row in rows if "manifest" in row)
    top1 = [values[0] for row in rows for values in row.get("scores", {}).values()]
    if not top1 or not no_better(top1, guessing):
        return ""
    return (
        f" The supernet had not learned: its networks reach {sum(top1) / len(top1):.0f} %, guessing up to"
        f" {guessing:.0f} %. So the found network is close to a random one, and the differences say nothing about the"
        " search; start anew (another --save) with more budget."
    )


def _dearer(ratio: float) -> str:
    """How a cost differs from another one.

    >>> _dearer(0.77), _dearer(1.04)
    ('costs 23 % less', 'costs about the same')
    """
    if abs(ratio - 1) <= NEAR:
        return "costs about the same"
    return f"costs {100 * abs(ratio - 1):.0f} % {'less' if ratio < 1 else 'more'}"


def _percent(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
