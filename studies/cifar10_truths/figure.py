"""The study's picture, from results.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studies.cifar10_truths.run import ONCE_ARM
from studies.cifar10_truths.table import BESIDE, PARTS, RULE, cost, recipe_of


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Tau, on the whole and at equal cost, against what was trained for it."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(found["tables"]), figsize=(10, 6), sharex=True, sharey="row", squeeze=False)
    for column, (table, each) in zip(axes.T, found["tables"].items(), strict=True):
        for number, (axis, part) in enumerate(zip(column, PARTS, strict=True)):
            for arm, rules in each["recipes"].items():
                if arm == ONCE_ARM:
                    continue
                at, judged = cost(each, arm), recipe_of(arm) == recipe_of(each["judged"])
                if judged:
                    axis.plot(at, rules[BESIDE][part], "C2*", label="default, rule with NASWOT")
                look, label = ("C3*", "default, rule, each seed") if judged else ("C1.", "other recipes, rule")
                axis.plot(at, rules[RULE][part], look, zorder=3 if judged else 2, label=label)
            naswot = each["rankings"]["untrained, naswot, smoothed"][part]["tau"]["value"]
            axis.plot(cost(each, "untrained"), naswot, "C4x", label="NASWOT alone, smoothed")
            sizes = [int(size) for size in each["ridge"]]
            axis.plot(sizes, [pair[number] for pair in each["ridge"].values()], "C0.-", label="networks trained alone")
            counted = each["over_counts"][part]["tau"]
            axis.axhline(counted, color="gray", ls="--", label="the best count")
            axis.axhline(each["ceiling"][number], color="black", ls=":", label="what the truth's noise allows")
        column[0].set(title=table, ylabel="tau" if column[0] is axes[0, 0] else None)
        column[1].set(xscale="log", xlabel="cost, in trained networks")
    axes[1, 0].set(ylabel="tau at equal cost")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=3)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, metadata={"Date": None})
