"""The main tables of the study, from results.json: what a supernet is worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fewshot_nas.ranking.judgement import worth_text
from studies.cifar10_truths.run import HERE

RESULTS = HERE / "results.json"
TRUTHS = 30  # of the ranker's lines
FULL_WIDTHS = ", of full widths"  # after a name: by untrained networks of the table's widths, not of a quarter
BOTH = "scores and NASWOT"  # what the ranker knows, beside "scores"
ELSEWHERE = " of the other tables"  # after a rule's name: the table that it ranks did not help to choose it
RULE, BESIDE = f"rule{ELSEWHERE}", f"rule with NASWOT{ELSEWHERE}"
PARTS = ("whole", "equal_cost")  # what a tau is of
OF_SEEDS = " seeds"  # how the name of a mean of several supernets ends
KINDS = MappingProxyType({"top1": "top-1", "prob": "mean probability", "likelihood": "likelihood"})
UNTRAINED = MappingProxyType(
    {
        "naswot": "NASWOT",
        "naswot, smoothed": "NASWOT, smoothed",
        f"naswot, smoothed{FULL_WIDTHS}": "NASWOT of full widths, smoothed",
        "synflow": "SynFlow",
        "zen": "Zen score",
    }
)
NAMES = MappingProxyType(
    {"channel_resnet": "{:,} ResNets", "channel_mobilenet": "{:,} MobileNets", "macro": "{:,} macro networks"}
)
COUNTS = MappingProxyType(
    {
        "macs": "multiply-adds",
        "params": "parameters",
        "depth": "depth",
        "quarter_macs": "multiply-adds of a quarter of the widths, as in the rules",
    }
)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The main table of each public one in Markdown: its supernet, untrained networks, counts, truths."""
    for table, each in found["tables"].items():
        yield f"\n| {table} | tau | tau at equal cost | worth | worth at equal cost | training cost |"
        yield "|---|---|---|---|---|---|"
        for name, title in titles(each).items():
            verdict = each["rankings"][name]
            spent = "0" if name.startswith("untrained") else f"{cost(each, name):.3f}"
            yield f"| {title} | {' | '.join(_cells(verdict))} | {spent} |"
        for name, count in each["counts"].items():
            yield f"| {COUNTS[name]} | {' | '.join(_cells(count))} | 0 |"
        for size in ("10", "30", "100", "1000"):
            whole, equal = each["ridge"][size]
            yield f"| ridge on {int(size):,} truths | {whole:.3f} | {equal:.3f} | | | {size} |"
        ranker = each["ranker"][str(TRUTHS)]
        whole_cost = TRUTHS + cost(each, "rule")
        for name, (whole, equal), spent in (
            ("no scores", ranker["scores"]["without"], TRUTHS),
            *((name, one["with"], whole_cost) for name, one in ranker.items()),
        ):
            yield f"| ranker with 30 truths, {name} | {whole:.3f} | {equal:.3f} | | | {spent:.4g} |"
        yield f"| what the truth's noise allows | {each['ceiling'][0]:.3f} | {each['ceiling'][1]:.3f} | | | |"


def headline(found: Mapping[str, Any]) -> Iterator[str]:
    """The table of the first page in Markdown: supernets, by the rule of the other tables, beside the best count."""
    yield "| networks of CIFAR-10, by others | best count | supernet | gain | other seeds |"
    yield "|---|---|---|---|---|"
    for table, each in found["tables"].items():
        alike = [arm for arm in each["recipes"] if recipe_of(arm) == recipe_of(each["judged"])]
        seeds = [each["recipes"][arm][RULE] for arm in alike]
        for part, title in (
            ("whole", NAMES[table].format(each["networks"])),
            ("equal_cost", "at equal cost"),
        ):
            over, (one, *others) = each["over_counts"][part], (f"{seed[part]:.2f}" for seed in seeds)
            yield f"| {title} | {over['tau']:.2f} | {one} | {signed(over['gain'], 2)} | {', '.join(others)} |"


def recipe_of(arm: str) -> str:
    """The name of an arm without its seed."""
    return arm.rpartition("_")[0]


def titles(table: Mapping[str, Any]) -> dict[str, str]:
    """The rankings of a main table with their names there."""
    judged = table["judged"]
    named = {f"{judged}, {kind}": f"supernet, {title}" for kind, title in KINDS.items()}
    named["rank"] = "supernet, as `rank` ranks without options"
    named["rank --untrained"] = "supernet, as `rank --untrained` ranks"
    for rule in ("rule", "rule with NASWOT"):
        elsewhere = f"{rule}{ELSEWHERE}"
        named[elsewhere] = f"**supernet, {elsewhere}**"
        own = table["rankings"][rule] != table["rankings"][elsewhere]
        named[f"{elsewhere}{FULL_WIDTHS}"] = f"supernet, {elsewhere}{FULL_WIDTHS}"
        named |= {rule: f"supernet, {rule} that this table helped to choose"} if own else {}
        named |= {name: f"supernet, {name}" for name in table["rankings"] if name.startswith(f"{elsewhere}, ")}
    named |= {f"untrained, {key}": f"untrained networks, {title}" for key, title in UNTRAINED.items()}
    return {name: title for name, title in named.items() if name in table["rankings"]}


def cost(table: Mapping[str, Any], ranking: str) -> float:
    """What the training of a ranking's supernet took, in trainings of the table; 0.001 for what was not trained."""
    costs = table["cost"]
    if ranking.startswith("untrained"):
        return 0.001
    one = float(costs.get(ranking.partition(", ")[0], costs[table["judged"]]))
    return int(ranking.removesuffix(OF_SEEDS)[-1]) * one if ranking.endswith(OF_SEEDS) else one


def signed(tau: Mapping[str, float], digits: int = 3) -> str:
    value, low, high = (f"{tau[key]:+.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _cells(verdict: Mapping[str, Any]) -> list[str]:
    """Tau and worth, whole and at equal cost."""
    return [*(_tau(verdict[part]["tau"]) for part in PARTS), *(_worth(verdict[part]["worth"]) for part in PARTS)]


def _tau(tau: Mapping[str, float]) -> str:
    return f"{tau['value']:.3f} [{tau['low']:.3f}, {tau['high']:.3f}]"


def _worth(worth: Sequence[float | None]) -> str:
    return worth_text([math.inf if each is None else each for each in worth])
