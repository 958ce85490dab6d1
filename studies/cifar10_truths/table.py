"""The study's tables and its picture, from results.json.

python -m studies.cifar10_truths.table                   the tables
python -m studies.cifar10_truths.table --figure FILE     the picture, too
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fewshot_nas.ranking.judgement import worth_text
from fewshot_nas.records.files import read_json
from studies.cifar10_truths.run import HERE

RESULTS = HERE / "results.json"
TRUTHS = 30  # of the ranker's lines
FULL_WIDTHS = ", of full widths"  # after a name: by untrained networks of the table's widths, not of a quarter
BOTH = "scores and NASWOT"  # what the ranker knows, beside "scores"
AGREEMENT = ("naswot", "macs", "whole", "equal_cost")  # what is known of a supernet's
TELLING = 5  # supernets, from which on a correlation over them says something
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
COUNTS = MappingProxyType({"macs": "multiply-adds", "params": "parameters", "depth": "depth"})
# In the picture: colour, mark and name.
MARKS = MappingProxyType(
    {
        "rule": ("C3", "*", "supernet, rule"),
        "rule with NASWOT": ("C2", "*", "supernet and untrained networks"),
        "untrained": ("C4", "x", "untrained networks, NASWOT"),
    }
)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The main table of each public one in Markdown: its supernet, untrained networks, counts, truths."""
    for table, each in found["tables"].items():
        yield f"\n| {table} | tau | tau at equal cost | worth | worth at equal cost | training cost |"
        yield "|---|---|---|---|---|---|"
        for name, title in titles(each).items():
            verdict = each["rankings"][name]
            cells = [_tau(verdict[part]["tau"]) for part in ("whole", "equal_cost")]
            cells += [_worth(verdict[part]["worth"]) for part in ("whole", "equal_cost")]
            cost = "0" if name.startswith("untrained") else f"{_cost(each, name):.3f}"
            yield f"| {title} | {' | '.join(cells)} | {cost} |"
        for name, count in each["counts"].items():
            yield f"| {COUNTS[name]} | {_tau(count['whole'])} | {_tau(count['equal_cost'])} | | | 0 |"
        for size in ("10", "30", "100", "1000"):
            whole, equal = each["ridge"][size]
            yield f"| ridge on {int(size):,} truths | {whole:.3f} | {equal:.3f} | | | {size} |"
        ranker = each["ranker"][str(TRUTHS)]
        whole_cost = TRUTHS + _cost(each, "rule")
        for name, (whole, equal), cost in (
            ("no scores", ranker["scores"]["without"], TRUTHS),
            *((name, one["with"], whole_cost) for name, one in ranker.items()),
        ):
            yield f"| ranker with 30 truths, {name} | {whole:.3f} | {equal:.3f} | | | {cost:.4g} |"
        yield f"| what the truth's noise allows | {each['ceiling'][0]:.3f} | {each['ceiling'][1]:.3f} | | | |"


def ranker_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What scores give to `rank`'s predictor with some truths, in Markdown."""
    yield "| table | trained networks | it knows | tau | at equal cost | without scores | gain | at equal cost |"
    yield "|---|---|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for size, by_name in each["ranker"].items():
            for name, one in by_name.items():
                gains = zip(one["gain"], one["half_width"], strict=True)
                cells = [f"{tau:.3f}" for tau in one["with"]] + [" / ".join(f"{tau:.3f}" for tau in one["without"])]
                cells += [signed({"value": gain, "low": gain - half, "high": gain + half}) for gain, half in gains]
                yield f"| {table} | {size} | {name} | {' | '.join(cells)} |"


def headline(found: Mapping[str, Any]) -> Iterator[str]:
    """The table of the first page in Markdown: one supernet, by the rule of the other tables, beside the best count."""
    yield "| networks of CIFAR-10, trained by others | best count | supernet | gain |"
    yield "|---|---|---|---|"
    for table, each in found["tables"].items():
        verdict = each["rankings"]["rule of the other tables"]
        for part, title in (
            ("whole", NAMES[table].format(each["networks"])),
            ("equal_cost", "the same, at equal cost"),
        ):
            count = max(taus[part]["value"] for taus in each["counts"].values())
            tau, gain = (verdict[part][key] for key in ("tau", "gain"))
            yield f"| {title} | {count:.2f} | {tau['value']:.2f} | {signed(gain, 2)} |"


def titles(table: Mapping[str, Any]) -> dict[str, str]:
    """The rankings of a main table with their names there."""
    judged = table["judged"]
    named = {f"{judged}, {kind}": f"supernet, {title}" for kind, title in KINDS.items()}
    named["rank"] = "supernet, as `rank` ranks without options"
    named["rank --untrained"] = "supernet, as `rank --untrained` ranks"
    for rule in ("rule", "rule with NASWOT"):
        elsewhere = f"{rule} of the other tables"
        named[elsewhere] = f"**supernet, {elsewhere}**"
        own = table["rankings"][rule] != table["rankings"][elsewhere]
        named[f"{elsewhere}{FULL_WIDTHS}"] = f"supernet, {elsewhere}{FULL_WIDTHS}"
        named |= {rule: f"supernet, {rule} that this table helped to choose"} if own else {}
        named |= {name: f"supernet, {name}" for name in table["rankings"] if name.startswith(f"{rule}, ")}
    named |= {f"untrained, {key}": f"untrained networks, {title}" for key, title in UNTRAINED.items()}
    return {name: title for name, title in named.items() if name in table["rankings"]}


def image_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What all images to rank on give, in Markdown: on the same networks, and smoothed to all networks of the half."""
    smoothed = {"many on 1,000": "2,048 on 1,000", "few on 1,000": "256 on 1,000", "few on all": "256 on all"}
    titles = " | ".join(f"smoothed from {title}" for title in smoothed.values())
    yield f"| table | score | gain of all images, 512 networks | at equal cost | {titles} | last over first |"
    yield "|---|---|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for kind, title in KINDS.items():
            if kind in each["by_images"]:
                one = each["by_images"][kind]
                cells = [signed(one["same"][part]) for part in ("whole", "equal_cost")]
                for name in smoothed:
                    cells.append(" / ".join(f"{one['smoothed'][name][part]:.3f}" for part in ("whole", "equal_cost")))
                yield f"| {table} | {title} | {' | '.join(cells)} | {signed(one['gain']['whole'])} |"


def surface_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What a linear smoother gives instead of a quadratic one, in Markdown."""
    yield "| table | score | quadratic | linear | gain | at equal cost |"
    yield "|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for kind, title in KINDS.items():
            one = each["by_surface"][kind]
            cells = [
                " / ".join(f"{one[name][part]:.3f}" for part in ("whole", "equal_cost"))
                for name in ("quadratic", "linear")
            ]
            cells += [signed(one["gain"][part]) for part in ("whole", "equal_cost")]
            yield f"| {table} | {title} | {' | '.join(cells)} |"


def recipe_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Arms that were scored as the judged ones, by the rules, and what they gain over others."""
    yield "| table | supernet | rule | tau | tau at equal cost | over | gain | at equal cost |"
    yield "|---|---|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for arm, rules in each["recipes"].items():
            for name, one in rules.items():
                cells = [*(f"{one[part]:.3f}" for part in ("whole", "equal_cost")), one["over"]]
                cells += [signed(one["gain"][part]) for part in ("whole", "equal_cost")]
                yield f"| {table} | {arm} | {name.partition(' of ')[0]} | {' | '.join(cells)} |"


def agreement_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """How far each supernet agrees with untrained networks, and how well it ranks, in Markdown."""
    yield "| table | supernet | agreement with NASWOT | with multiply-adds | tau | tau at equal cost |"
    yield "|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for arm, one in sorted(each["agreement"].items(), key=lambda item: -item[1]["naswot"]):
            yield f"| {table} | {arm} | {' | '.join(f'{one[key]:.3f}' for key in AGREEMENT)} |"
    for table, each in found["tables"].items():
        if len(each["agreement"]) >= TELLING:
            rows = np.array([[one[key] for key in AGREEMENT] for one in each["agreement"].values()]).T
            for number, title in enumerate(("agreement with NASWOT", "that with multiply-adds")):
                related = " | ".join(f"{np.corrcoef(rows[number], other)[0, 1]:.2f}" for other in rows[2:])
                yield f"| {table} | *{title}, correlation over {rows.shape[1]} supernets* | | | {related} |"


def arm_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """All other supernets in Markdown, whole and at equal cost by each score."""
    yield f"| table | supernet | {' | '.join(f'{title} | at equal cost' for title in KINDS.values())} | training cost |"
    yield f"|---|---|{'---|' * (2 * len(KINDS) + 1)}"
    for table, each in found["tables"].items():
        for arm in sorted({name.partition(", ")[0] for name in each["rankings"] if name.endswith(", prob")}):
            rankings = [each["rankings"][f"{arm}, {kind}"] for kind in KINDS]
            cells = [f"{rank[part]['tau']['value']:.3f}" for rank in rankings for part in ("whole", "equal_cost")]
            yield f"| {table} | {arm} | {' | '.join(cells)} | {_cost(each, f'{arm}, prob'):.3f} |"


def pair_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Paired differences of arms in Markdown, by mean probability if nothing else is said."""
    yield "| table | instead of | difference in tau | at equal cost | networks |"
    yield "|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for name, pair in each["against"].items():
            cells = [signed(pair[part]) for part in ("whole", "equal_cost")]
            yield f"| {table} | {name} | {' | '.join(cells)} | {pair['networks']:,} |"


def _cost(table: Mapping[str, Any], ranking: str) -> float:
    """What the training of a ranking's supernet took, in trainings of the table; 0.001 for what was not trained."""
    costs = table["cost"]
    if ranking.startswith("untrained"):
        return 0.001
    one = float(costs.get(ranking.partition(", ")[0], costs[table["judged"]]))
    return int(ranking.removesuffix(OF_SEEDS)[-1]) * one if ranking.endswith(OF_SEEDS) else one


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Tau, on the whole and at equal cost, against what was trained for it."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(found["tables"]), figsize=(10, 6), sharex=True, sharey="row", squeeze=False)
    for column, (table, each) in zip(axes.T, found["tables"].items(), strict=True):
        for number, (axis, part) in enumerate(zip(column, ("whole", "equal_cost"), strict=True)):
            shown = {name: verdict for name, verdict in each["rankings"].items() if name.endswith(", prob")}
            shown["rule"] = each["rankings"]["rule of the other tables"]
            shown["rule with NASWOT"] = each["rankings"]["rule with NASWOT of the other tables"]
            shown["untrained"] = each["rankings"]["untrained, naswot"]
            for name, verdict in shown.items():
                tau = verdict[part]["tau"]
                bars = [[tau["value"] - tau["low"]], [tau["high"] - tau["value"]]]
                colour, mark, label = MARKS.get(name, ("C1", ".", "supernets, mean probability"))
                axis.errorbar(_cost(each, name), tau["value"], bars, color=colour, fmt=mark, capsize=2, label=label)
            sizes = [int(size) for size in each["ridge"]]
            axis.plot(sizes, [pair[number] for pair in each["ridge"].values()], "C0o-", label="networks trained alone")
            axis.axhline(each["counts"]["macs"][part]["value"], color="gray", ls="--", label="counting multiply-adds")
            axis.axhline(each["ceiling"][number], color="black", ls=":", label="what the truth's noise allows")
        column[0].set(title=table, ylabel="tau" if column[0] is axes[0, 0] else None)
        column[1].set(xscale="log", xlabel="cost, in trained networks")
    axes[1, 0].set(ylabel="tau at equal cost")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=3)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, metadata={"Date": None})


def slope_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What truths and scores make of each width, in Markdown."""
    yield "| slope on the width of digit | 1 | 2 | 3 | 4 | 5 | 6 | 7 |"
    yield "|---|---|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for name, values in each["slopes"].items():
            yield f"| {table}, {name} | {' | '.join(f'{value:.2f}' for value in values)} |"


def _tau(tau: Mapping[str, float]) -> str:
    return f"{tau['value']:.3f} [{tau['low']:.3f}, {tau['high']:.3f}]"


def signed(tau: Mapping[str, float], digits: int = 3) -> str:
    value, low, high = (f"{tau[key]:+.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _worth(worth: Sequence[float | None]) -> str:
    return worth_text([math.inf if each is None else each for each in worth])


def main(argv: Sequence[str] | None = None) -> int:
    """Print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, metavar="FILE", help="where the picture goes")
    options = parser.parse_args(argv)
    found = read_json(RESULTS)
    if options.figure:
        draw(found, options.figure)
    tables = (
        lines,
        ranker_lines,
        surface_lines,
        image_lines,
        arm_lines,
        recipe_lines,
        agreement_lines,
        pair_lines,
        slope_lines,
    )
    print("\n\n".join("\n".join(each(found)).strip() for each in tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
