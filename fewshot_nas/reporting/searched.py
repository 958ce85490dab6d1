"""What was found, on the page: each search's front against the pool's and that of random search; the answer of `fit`;
the board of a Cream search.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from fewshot_nas.reporting.log import PathSearch
from fewshot_nas.reporting.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Figure,
    code,
    decimal,
    layout,
    missing,
    note,
    plot,
    quantity,
    table,
    unit_of,
)
from fewshot_nas.results.found import Found, FoundArch, front

_TITLES = {"macs": "MACs", "params": "parameters", "latency": "latency"}
_ROWS = 12  # of a front, as a table
_OWN = ("method", "numerics", "population")  # what may differ between a search and its random opponent


def shown_searches(searches: Mapping[str, Found]) -> dict[str, tuple[Found, Found | None]]:
    """The searches by name, each with the random search under the same conditions if there is one.

    A random search has an entry of its own if no other search stands against it.
    """
    drawn = {name: found for name, found in searches.items() if found.manifest.get("method") == "random"}
    pairs = {
        name: (found, next((other for other in drawn.values() if _alike(found, other)), None))
        for name, found in searches.items()
        if name not in drawn
    }
    opponents = [id(other) for _, other in pairs.values()]
    return pairs | {name: (found, None) for name, found in drawn.items() if id(found) not in opponents}


def search_sections(searches: Mapping[str, Found], command: str) -> Iterator[str]:
    """Each search's outcome in words, its figure, and its front as a table.

    Args:
        command: that searches.
    """
    if not searches:
        yield missing("Nobody has searched this run's supernets.", command)
    for name, (found, drawn) in shown_searches(searches).items():
        yield f"<h3>{escape(name)}</h3>"
        yield note(_said(found, drawn))
        if found.archs:
            yield f"<figure>{plot(f'search {name}')}</figure>"
            yield _front(found.front, _measure(found))


def search_figure(found: Found, drawn: Found | None) -> Figure:
    """Scores against the first measure of the front: all archs, and the fronts of search, pool and chance."""
    measure = found.measures[0]
    unit, size = _unit(measure, [*found.archs, *found.pool])
    archs = {"mode": "markers", "marker": {"color": BLUE, "size": 5, "opacity": 0.5}}
    data = [{"name": "scored archs"} | archs | _points(found.archs, measure, size)]
    lines = {"search": (found.front, GREEN)}
    if found.pool:
        lines["pool"] = (front(found.pool, found.measures[:1]), ORANGE)
    if drawn:
        lines["random search"] = (drawn.front, GREY)
    for title, (kept, colour) in lines.items():
        steps = front(kept, found.measures[:1])[::-1]
        line = {"mode": "lines+markers", "line": {"color": colour, "width": 2, "shape": "hv"}}
        data.append({"name": f"front of {title}"} | line | _points(steps, measure, size))
    plan = layout(f"{_TITLES[measure]}, {unit}", f"{_measure(found)}, %", height=400, legend=True)
    return {"data": data, "layout": plan}


def _alike(one: Found, other: Found) -> bool:
    keys = (one.manifest.keys() | other.manifest.keys()) - set(_OWN)
    return all(one.manifest.get(key) == other.manifest.get(key) for key in keys)


def _said(found: Found, drawn: Found | None) -> str:
    """How the best arch compares."""
    if not found.archs:
        return "It has found nothing."
    bounds = ", ".join(map(str, found.manifest.get("bounds", ()))) or "no bounds"
    said = f"{len(found.archs)} archs within {bounds}, judged by {_measure(found)}."
    said += f" The best has {found.archs[0].score:.2f} %"
    if found.pool:
        said += f", the best of the pool's scored archs within the same bounds {found.pool[0].score:.2f} %"
    if drawn and drawn.archs:
        said += f", the best of {len(drawn.archs)} random ones {drawn.archs[0].score:.2f} %"
    return f"{said}. A score is not an accuracy: the largest of many is too large. Train the arch to know."


def _measure(found: Found) -> str:
    """What the archs' percentages are of."""
    return str(found.manifest.get("measure", "score"))


def _points(archs: Sequence[FoundArch], measure: str, size: float) -> Figure:
    return {
        "type": "scatter",
        "x": [round(arch.costs[measure] / size, 4) for arch in archs],
        "y": [round(arch.score, 3) for arch in archs],
        "text": [
            f"{escape(arch.code)}<br>{', '.join(f'{_cost(*cost)} {_TITLES[cost[0]]}' for cost in arch.costs.items())}"
            for arch in archs
        ],
        "hovertemplate": "%{text}<br>%{y:.2f} %<extra></extra>",
    }


def _unit(measure: str, archs: Sequence[FoundArch]) -> tuple[str, float]:
    most = max((arch.costs[measure] for arch in archs), default=1.0)
    if measure == "latency":
        return ("ms", 1e3) if most >= 1e3 else ("us", 1.0)
    unit = unit_of(most)
    return unit.name, unit.size


def _cost(name: str, value: float) -> str:
    return f"{value:.0f} us" if name == "latency" else quantity(value)


def _front(archs: Sequence[FoundArch], measure: str) -> str:
    names = list(archs[0].costs)
    rows = [
        [f"{arch.score:.2f}", *(_cost(name, arch.costs[name]) for name in names), code(arch.code)]
        for arch in archs[:_ROWS]
    ]
    heads = (f"{measure}, %", *(_TITLES[name] for name in names), "code")
    more = note(f"The best {_ROWS} of {len(archs)}; all are in the search's front.csv.") if len(archs) > _ROWS else ""
    return more + table(heads, rows, numeric=range(len(heads) - 1))


# ---- the answer of `fit`: which network, how good, how fast, against what, and where it is wrong ---------------------

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
    elif "confusion" in answer:
        number = f"{len(answer['classes']):,} classes are more than a picture can show"
        yield note(f"Confusions: {number}; fit/guesses.csv has the result's guess for each test image.")
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


# ---- what only a Cream run has: the board over time and at the end, and its path trained alone -----------------------


def board_figure(search: PathSearch) -> Figure:
    """Every path of the board after each epoch, and the best path's top-1 on the ranking images."""
    points = [(at.epoch, *pair) for at in search.boards for pair in zip(at.accuracies, at.paths, strict=True)]
    best = [(at.epoch, at.accuracies[0], at.paths[0]) for at in search.boards]
    validated = [(at.epoch, at.top1, at.paths[0]) for at in search.boards if at.top1 is not None]
    data = [
        _trace("paths on the board", "markers", points, GREY),
        _trace("the best of them", "lines+markers", best, BLUE),
        _trace("its top-1 on the ranking images", "lines+markers", validated, ORANGE),
    ]
    return {"data": data, "layout": layout("epoch", f"{search.title}, %", height=380, legend=True)}


def cream_section(search: PathSearch) -> Iterator[str]:
    """The board over time and at the end, and the trainings of paths alone."""
    if search.boards:
        last = search.boards[-1]
        yield note(f"The board after each epoch, by {search.title}. Hover over a point to read its path.")
        yield f"<figure>{plot('board')}</figure>"
        rows = [[code(path), decimal(value)] for path, value in zip(last.paths, last.accuracies, strict=True)]
        yield f"<h3>The board after epoch {last.epoch}</h3>" + table(("path", f"{search.title}, %"), rows, numeric=(1,))
    if search.retrained:
        rows = [
            [escape(name), str(epochs), *("" if top1 is None else decimal(top1) for top1 in measured)]
            for name, epochs, *measured in search.retrained
        ]
        heads = ("retrained", "epochs", "ranking images, top-1 %", "test images, top-1 %")
        yield "<h3>Trained alone</h3>" + table(heads, rows, numeric=(1, 2, 3))


def _trace(name: str, mode: str, points: Sequence[tuple[Any, ...]], colour: str) -> Figure:
    x, y, paths = map(list, zip(*points, strict=True)) if points else ([], [], [])
    look = {"marker": {"color": colour, "size": 5}, "line": {"color": colour, "width": 2}}
    text = {"text": paths, "hovertemplate": name + " %{y:.2f} %<br>%{text}<extra></extra>"}
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y} | look | text
