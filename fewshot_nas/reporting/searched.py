"""The searches of a run on the page: each front against the pool's and that of random search."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from fewshot_nas.reporting.style import BLUE, GREEN, GREY, ORANGE, Figure, code, layout, missing, note, plot, table
from fewshot_nas.reporting.wording import quantity, unit_of
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
