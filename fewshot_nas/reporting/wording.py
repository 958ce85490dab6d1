"""The spelling of names and numbers on the page and in figures."""

from typing import NamedTuple

from fewshot_nas.ranking.interval import Interval, shown

_METRICS = {"top1": "top-1", "top5": "top-5", "prob": "mean probability", "likelihood": "likelihood"}
_PROXIES = {"depth": "depth", "params": "parameters", "macs": "MACs"}


class Unit(NamedTuple):
    """A power of ten that makes numbers easy to read."""

    name: str
    size: float

    def of(self, value: float) -> float:
        """A number in this unit, rounded to four decimal places."""
        return round(value / self.size, 4)


def unit_of(value: float) -> Unit:
    """The unit for a number of MACs or parameters."""
    return Unit("G", 1e9) if value >= 1e9 else Unit("M", 1e6) if value >= 1e6 else Unit("k", 1e3)


def quantity(value: float) -> str:
    """`2.105 G`, always with four digits."""
    unit = unit_of(value)
    return f"{value / unit.size:#.4g} {unit.name}"


def round_quantity(value: float) -> str:
    """`2.1 G`, with only as many digits as a round number needs."""
    unit = unit_of(value)
    return f"{value / unit.size:g} {unit.name}"


def phase_title(name: str) -> str:
    """The title of a phase's row or panel."""
    return "1 (one-shot)" if name == "1" else name


def metric_title(name: str) -> str:
    return _METRICS[name]


def prediction_title(predicted: str, metric: str) -> str:
    """What the ranker's percentages are of.

    Args:
        predicted: as `ranking.json` has it: `accuracy alone`, or `score`.
        metric: of the scores.
    """
    return "predicted top-1 alone" if predicted == "accuracy alone" else f"predicted {_METRICS[metric]}"


def proxy_title(name: str) -> str:
    return _PROXIES[name]


def interval(value: Interval) -> str:
    """`0.61 [0.38, 0.77]`."""
    return value.text(decimal)


def decimal(value: float) -> str:
    """`0.610`; negative numbers have a real minus sign."""
    return shown(value).replace("-", "\N{MINUS SIGN}")
