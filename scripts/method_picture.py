"""Draws docs/method.svg, the picture of the method in the README.

python scripts/method_picture.py            writes the picture
python scripts/method_picture.py --check    fails if the picture is not what this script draws
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "method.svg"
WIDTH, HEIGHT = 900, 300
INK, PALE, LINE, NARROW, WIDE = "#1f2933", "#e4e7eb", "#7b8794", "#2680c2", "#9fc9e8"

# Caps of stage 4 in `track1`, as shares of the widest: a group serves the widths up to its cap.
CAPS = (512, 488, 464, 432, 408, 384, 360)
# Scores and accuracies of the schematic plot, in pixels from its lower left corner.
POINTS = ((14, 20), (30, 34), (44, 28), (58, 52), (74, 62), (88, 58), (104, 84), (120, 92), (134, 104))


def text(x: float, y: float, words: str, size: int = 13, anchor: str = "start", weight: str = "400") -> str:
    """A line of text, whose baseline begins at (x, y)."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{INK}">'
        f"{words}</text>"
    )


def bar(x: float, height: float, caps: Sequence[int], width: float) -> str:
    """The channels of one group: the whole height is its cap, the darker part what its narrowest subnet uses."""
    base, least = 230, height * caps[-1] / caps[0]
    return (
        f'<rect x="{x:g}" y="{base - height:g}" width="{width:g}" height="{height:g}" fill="{WIDE}" stroke="{LINE}"/>'
        f'<rect x="{x:g}" y="{base - least:g}" width="{width:g}" height="{least:g}" fill="{NARROW}"/>'
    )


def supernet(x: float, groups: int, title: str, words: str) -> Iterator[str]:
    """A stage of a supernet: one bar for each group, from the narrowest cap to the widest."""
    caps, width = CAPS[:groups][::-1], 84 / groups
    yield text(x, 62, title, weight="600")
    yield text(x, 80, words, 12)
    for place, cap in enumerate(caps):
        below = CAPS[CAPS.index(cap) :] if place == 0 else (cap,)
        yield bar(x + place * (width + 4), 130 * cap / CAPS[0], below, width)


def arrow(x: float, y: float, length: float) -> str:
    """An arrow to the right."""
    return f'<path d="M{x:g} {y:g}h{length:g}m-7 -5l7 5l-7 5" fill="none" stroke="{INK}" stroke-width="1.6"/>'


def plot(x: float, y: float) -> Iterator[str]:
    """Scores against accuracies of networks trained alone."""
    yield f'<path d="M{x:g} {y - 118:g}v118h150" fill="none" stroke="{LINE}" stroke-width="1.4"/>'
    yield from (f'<circle cx="{x + right:g}" cy="{y - up:g}" r="4.5" fill="{NARROW}"/>' for right, up in POINTS)
    yield text(x + 75, y + 18, "score by the supernet", 12, "middle")
    yield f'<g transform="rotate(-90 {x - 8:g} {y - 59:g})">{text(x - 8, y - 59, "trained alone", 12, "middle")}</g>'


def picture() -> str:
    """The picture as SVG. It has a ground of its own, so that dark and light pages show it alike."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif">',
        "<title>One supernet, split into 2 to 7 groups; its ranking is compared with networks trained alone</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff" stroke="{PALE}"/>',
        text(24, 32, "A subnet is the leading channels of its group", 15, weight="600"),
        *supernet(24, 1, "one-shot", "one set of weights"),
        arrow(150, 165, 36),
        *supernet(208, 2, "2 groups", "narrow | wide"),
        arrow(332, 165, 16),
        text(353, 170, "3 ... 6", 12),
        arrow(394, 165, 16),
        *supernet(424, 7, "7 groups", "one for each width"),
        text(24, 262, "A split copies weights and changes no subnet's answers; then the groups train on.", 12),
        text(24, 280, "Height: channels of a stage. Dark: what the group's narrowest subnet uses.", 12),
        text(650, 32, "How far to trust it", 15, weight="600"),
        arrow(570, 165, 56),
        text(650, 62, "Kendall's tau, 95 % interval,", weight="600"),
        text(650, 80, "beside counting parameters", 12),
        *plot(672, 230),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture, or compare it."""
    if (sys.argv[1:] if argv is None else argv) == ["--check"]:
        return int(PICTURE.read_text(encoding="utf-8") != picture())
    PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
