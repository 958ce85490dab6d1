"""The study's picture, from results.json."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from studies.cifar10_truths.table import cost

# Colour, mark and name.
MARKS = MappingProxyType(
    {
        "rule": ("C3", "*", "supernet, rule"),
        "rule with NASWOT": ("C2", "*", "supernet and untrained networks"),
        "untrained": ("C4", "x", "untrained networks, NASWOT"),
    }
)


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
                axis.errorbar(cost(each, name), tau["value"], bars, color=colour, fmt=mark, capsize=2, label=label)
            sizes = [int(size) for size in each["ridge"]]
            axis.plot(sizes, [pair[number] for pair in each["ridge"].values()], "C0o-", label="networks trained alone")
            counted = each["counts"]["macs"][part]["tau"]["value"]
            axis.axhline(counted, color="gray", ls="--", label="counting multiply-adds")
            axis.axhline(each["ceiling"][number], color="black", ls=":", label="what the truth's noise allows")
        column[0].set(title=table, ylabel="tau" if column[0] is axes[0, 0] else None)
        column[1].set(xscale="log", xlabel="cost, in trained networks")
    axes[1, 0].set(ylabel="tau at equal cost")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=3)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, metadata={"Date": None})
