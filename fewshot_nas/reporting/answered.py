"""The answer of `fit` on the page: which network, how good, how fast, against what, and where it is wrong."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fewshot_nas.reporting.style import BLUE, Figure, code, layout, note, plot, table
from fewshot_nas.reporting.wording import quantity

_MOST_CLASSES = 200  # in a picture of confusions


def answer_section(answer: Mapping[str, Any], searched: bool) -> Iterator[str]:
    """The networks, the front of the search, the confusions, and the most confident mistakes.

    Args:
        searched: whether there is a search named `fit`, whose front is shown.
    """
    rows = [
        [
            escape(each["title"]) + (" (the result)" if name == answer["winner"] else ""),
            *(_percent(each[key]) for key in ("top1", "balanced")),
            f"{each['latency_us'] / 1e3:.2f} ms",
            quantity(each["macs"]),
            quantity(each["params"]),
            code(each["code"]),
        ]
        for name, each in answer["networks"].items()
    ]
    heads = ("network", "top-1, %", "mean of the classes, %", "latency", "MACs", "parameters", "code")
    yield table(heads, rows, numeric=range(1, 6))
    yield note(
        f"On {answer['images']:,} test images, with 95 % intervals; all trained alike. Latency: in torch, one image at"
        f" a time on {answer['device']}, one thread; that of the exported file is in its card."
    )
    for name, why in answer.get("left_out", {}).items():
        yield note(f"Left out ({name}): {why}.")
    if searched:
        yield f"<h3>Score against cost</h3><figure>{plot('search fit')}</figure>"
    if "confusion" in answer and len(answer["classes"]) <= _MOST_CLASSES:
        yield f"<h3>Confusions of the result</h3><figure>{plot('confusion')}</figure>"
    if answer["wrong"]:
        pictures = "".join(
            f'<figure><img alt="{escape(each["name"])}" src="data:image/jpeg;base64,{escape(each["jpeg"])}">'
            f"<figcaption>{escape(each['label'])}, taken for {escape(each['guess'])}"
            f" ({100 * each['probability']:.0f} %)<br>{escape(each['name'])}</figcaption></figure>"
            for each in answer["wrong"]
        )
        yield f'<h3>The most confident mistakes</h3><div class="panels">{pictures}</div>'


def confusion_figure(answer: Mapping[str, Any]) -> Figure:
    """Test images by class and by the class that the result took them for."""
    classes = answer["classes"]
    data = {
        "type": "heatmap",
        "z": answer["confusion"],
        "x": classes,
        "y": classes,
        "colorscale": [[0, "#ffffff"], [1, BLUE]],
        "hovertemplate": "%{y}, taken for %{x}: %{z}<extra></extra>",
    }
    plan = layout("taken for", "class", height=max(360, 60 + 18 * len(classes)))
    plan["yaxis"] |= {"autorange": "reversed", "type": "category"}
    plan["xaxis"] |= {"type": "category"}
    return {"data": [data], "layout": plan}


def _percent(interval: Any) -> str:
    value, low, high = interval
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
