"""The tables of the study's page of all arms, from results.json."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from studies.cifar10_truths.table import KINDS, PARTS, cost, recipe_of, signed

AGREEMENT = ("naswot", "macs", "whole", "equal_cost")  # what is known of a supernet's
TELLING = 5  # supernets, from which on a correlation over them says something


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
                cells = [signed(one["same"][part]) for part in PARTS]
                for name in smoothed:
                    cells.append(" / ".join(f"{one['smoothed'][name][part]:.3f}" for part in PARTS))
                yield f"| {table} | {title} | {' | '.join(cells)} | {signed(one['gain']['whole'])} |"


def surface_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What a linear smoother gives instead of a quadratic one, in Markdown."""
    yield "| table | score | quadratic | linear | gain | at equal cost |"
    yield "|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for kind, title in KINDS.items():
            one = each["by_surface"][kind]
            cells = [" / ".join(f"{one[name][part]:.3f}" for part in PARTS) for name in ("quadratic", "linear")]
            cells += [signed(one["gain"][part]) for part in PARTS]
            yield f"| {table} | {title} | {' | '.join(cells)} |"


def recipe_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Arms that were scored as the judged ones, by the rules, and what they gain over others."""
    yield "| table | supernet | rule | tau | tau at equal cost | over | gain | at equal cost |"
    yield "|---|---|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for arm, rules in each["recipes"].items():
            for name, one in rules.items():
                if "over" not in one:
                    continue
                cells = [*(f"{one[part]:.3f}" for part in PARTS), one["over"]]
                cells += [signed(one["gain"][part]) for part in PARTS]
                yield f"| {table} | {arm} | {name.partition(' of ')[0]} | {' | '.join(cells)} |"


def seed_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Recipes that were trained with several seeds, by the rules of the other tables, in Markdown."""
    heads = ("rule", "tau", "at equal cost", "over multiply-adds, or NASWOT", "at equal cost", "agreement with NASWOT")
    yield f"| table | supernet | {' | '.join(heads)} |"
    yield f"|---|---|{'---|' * len(heads)}"
    for table, each in found["tables"].items():
        recipes = [*map(recipe_of, each["recipes"])]
        for arm, rules in each["recipes"].items():
            if recipes.count(recipe_of(arm)) > 1 and arm in each["agreement"]:
                for name, one in rules.items():
                    cells = [f"{one[part]:.3f}" for part in PARTS]
                    cells += [signed(one["over_its_part"][part]) for part in PARTS]
                    cells.append(f"{each['agreement'][arm]['naswot']:.3f}")
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
            cells = [f"{rank[part]['tau']['value']:.3f}" for rank in rankings for part in PARTS]
            yield f"| {table} | {arm} | {' | '.join(cells)} | {cost(each, f'{arm}, prob'):.3f} |"


def pair_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Paired differences of arms in Markdown, by mean probability if nothing else is said."""
    yield "| table | instead of | difference in tau | at equal cost | networks |"
    yield "|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for name, pair in each["against"].items():
            cells = [signed(pair[part]) for part in PARTS]
            yield f"| {table} | {name} | {' | '.join(cells)} | {pair['networks']:,} |"


def slope_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What truths and scores make of each width, in Markdown."""
    yield "| slope on the width of digit | 1 | 2 | 3 | 4 | 5 | 6 | 7 |"
    yield "|---|---|---|---|---|---|---|---|"
    for table, each in found["tables"].items():
        for name, values in each["slopes"].items():
            yield f"| {table}, {name} | {' | '.join(f'{value:.2f}' for value in values)} |"
