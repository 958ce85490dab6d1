"""Reading a run's files into plain values: what a report shows, and tables for Python. Nothing is drawn here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import extra
from fewshot_nas.ranking.correlation import FEWEST, Correlation, correlate, proxies
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.reporting.log import Epoch, Log, PathSearch, read_log
from fewshot_nas.reporting.ranked import Ranked
from fewshot_nas.results.directories import PhaseDirectory, merged_manifest_path
from fewshot_nas.results.evaluations import Evaluation, merged_by, merged_evaluations, read_evaluation
from fewshot_nas.results.found import Found
from fewshot_nas.results.scores import BEST_FIRST, Manifest, Network, network_of, read_manifest
from fewshot_nas.space.block import Cost
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.space import Space

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class PhaseRecord:
    """The content of one phase's files.

    Attributes:
        unmerged: evaluations whose parts have not been merged, by the names that `--epoch` uses.
        compared: scores of the ground truth's archs, in percent; `source` says where they come from.
    """

    name: str
    log: Log
    manifest: Manifest
    evaluation: Evaluation | None
    unmerged: tuple[str, ...]
    compared: Mapping[str, float]
    source: str


class Span(NamedTuple):
    """A phase on the axis of all epochs; `start` is the number of epochs before it."""

    phase: PhaseRecord
    start: int

    def x(self, epoch: Epoch) -> int:
        """The number of epochs trained, of all phases, when this epoch ended."""
        return self.start + epoch.number + 1

    @property
    def end(self) -> int:
        """The number of epochs trained, of all phases, when this phase ended."""
        return max(map(self.x, self.phase.log.epochs))

    @property
    def taus(self) -> list[tuple[Epoch, Interval]]:
        """The epochs in which tau was measured."""
        return [(epoch, epoch.tau) for epoch in self.phase.log.epochs if epoch.tau]


@dataclass(frozen=True)
class Study:
    """Everything that a report shows.

    Attributes:
        metric: the metric of the scores, one of `scores.METRICS`.
        truth: stand-alone accuracies; empty if there is no ground truth.
        codes, costs: of all archs that any phase has scored, and of the ground truth's archs.
        phase_rows, proxy_rows: for each phase and proxy, how well it ranks the ground truth.
        cream: a Cream search, if there is one.
        ranked: the ranker's table, if there is one.
        searches: what each search has found, by name.
        answer: what `fit` has found on the test images, see `fitting/answer.py`; None in other runs.
    """

    save: str
    metric: str
    phases: tuple[PhaseRecord, ...]
    truth: Mapping[str, Entry]
    codes: Mapping[str, str]
    costs: Mapping[str, Cost]
    phase_rows: Mapping[str, Correlation]
    proxy_rows: Mapping[str, Correlation]
    ranked: Ranked | None = None
    cream: PathSearch | None = None
    searches: Mapping[str, Found] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None

    @property
    def spans(self) -> list[Span]:
        """The phases that have been trained, one after the other."""
        spans: list[Span] = []
        for phase in self.phases:
            if phase.log.epochs:
                spans.append(Span(phase, spans[-1].end if spans else 0))
        return spans

    @property
    def best_phase(self) -> str | None:
        return _best(self.phase_rows)

    @property
    def best_proxy(self) -> str | None:
        """The proxy with the largest tau, which a supernet has to beat."""
        return _best(self.proxy_rows)


def gather(
    save: str,
    found: Mapping[str, PhaseDirectory],
    truth: Mapping[str, Entry],
    default: Space,
    metric: str = "top1",
) -> Study:
    """Read a run.

    Args:
        save: the run's name.
        found: the directories of its phases, by their names, in order; any of their files may be missing.
        truth: the ground truth; may be empty.
        default: the space, if no manifest describes one.
        metric: the scores to show, one of `scores.METRICS`.

    Raises:
        InputError: a file is malformed, or an arch id means different archs in two files.
    """
    phases = tuple(_phase(name, directory, truth, metric, default) for name, directory in found.items())
    network = _network(phases, default)
    codes = _codes(phases, truth, network.space)
    costs = {arch_id: _cost(network, arch_id, code) for arch_id, code in codes.items()}
    accuracy = {arch_id: entry.acc for arch_id, entry in truth.items()}
    rows = {phase.name: correlate(phase.compared, accuracy) for phase in phases if len(phase.compared) >= FEWEST}
    return Study(
        save=save,
        metric=metric,
        phases=phases,
        truth=truth,
        codes=codes,
        costs=costs,
        phase_rows=rows,
        proxy_rows=_proxy_rows(network, truth),
    )


def _phase(
    name: str, directory: PhaseDirectory, truth: Mapping[str, Entry], metric: str, default: Space
) -> PhaseRecord:
    log = read_log(directory.log)
    manifest = read_manifest(directory.manifest) if directory.manifest.exists() else {}
    merged = merged_evaluations(directory, metric)
    evaluation = read_evaluation(merged[0], metric, default) if merged else None
    unmerged = tuple(epoch for epoch, path in directory.evaluations().items() if path not in merged)
    compared, source = _compared(log, evaluation, truth, metric, default)
    return PhaseRecord(name, log, manifest, evaluation, unmerged, compared, source)


def _compared(
    log: Log, evaluation: Evaluation | None, truth: Mapping[str, Entry], metric: str, space: Space
) -> tuple[dict[str, float], str]:
    """Scores of the ground truth's archs: those of the evaluation, or those of the chosen epoch if there are more."""
    measured = [epoch for epoch in log.epochs if truth.keys() & epoch.scores[metric].keys()]
    chosen = [epoch for epoch in measured if epoch.number == log.chosen] or measured
    trained = {key: value for key, value in chosen[-1].scores[metric].items() if key in truth} if chosen else {}
    rescored = {key: value for key, value in log.rescored.get(metric, {}).items() if key in truth}
    by_code = {scored.code: scored.acc for scored in evaluation.scores.values()} if evaluation else {}
    coded = {arch_id: space.encode(entry.arch) for arch_id, entry in truth.items()}
    evaluated = {arch_id: by_code[code] for arch_id, code in coded.items() if code in by_code}
    if evaluation and evaluated and len(evaluated) >= len(rescored or trained):
        images = f" on {evaluation.manifest['images']:,} images" if "images" in evaluation.manifest else ""
        parts = f", {evaluation.parts}" if evaluation.parts else ""
        return evaluated, f"evaluation {evaluation.epoch}{images}{parts}"
    if rescored:
        return rescored, f"epoch {log.chosen}, chosen anew"
    return trained, f"training, epoch {chosen[-1].number}" if chosen else ""


def _network(phases: Sequence[PhaseRecord], default: Space) -> Network:
    evaluated = [phase.evaluation.manifest for phase in phases if phase.evaluation]
    manifests = [*evaluated, *(phase.manifest for phase in phases)]
    described = next((manifest for manifest in manifests if "space" in manifest), {})
    return network_of(described, Path("the manifest"), default)


def _codes(phases: Sequence[PhaseRecord], truth: Mapping[str, Entry], space: Space) -> dict[str, str]:
    codes = {arch_id: space.encode(entry.arch) for arch_id, entry in truth.items()}
    for phase in phases:
        for arch_id, scored in phase.evaluation.scores.items() if phase.evaluation else ():
            if codes.setdefault(arch_id, scored.code) != scored.code:
                raise InputError(
                    f"phase {phase.name}: {arch_id} has the code {scored.code}, elsewhere {codes[arch_id]};"
                    " were they scored on another pool, or is the ground truth another pool's?"
                )
    return codes


def _cost(network: Network, arch_id: str, code: str) -> Cost:
    try:
        return network.cost(network.space.decode(code))
    except InputError as error:
        raise InputError(f"{arch_id}: {error}") from None


def _proxy_rows(network: Network, truth: Mapping[str, Entry]) -> dict[str, Correlation]:
    if len(truth) < FEWEST:
        return {}
    archs = {arch_id: entry.arch for arch_id, entry in truth.items()}
    scores = proxies(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
    return {name: correlate(values, {i: truth[i].acc for i in truth}) for name, values in scores.items()}


def _best(rows: Mapping[str, Correlation]) -> str | None:
    defined = [name for name, row in rows.items() if row.kendall.defined]
    return max(defined, key=lambda name: rows[name].kendall.value, default=None)


# ---- a run's results as tables, for Python ---------------------------------------------------------------------------


class Table(list[dict[str, Any]]):
    """Rows by the names of their columns. Accuracies, scores and predictions are in percent.

    >>> table = Table([{"code": "11", "likelihood": 40.0}, {"code": "12", "likelihood": 60.0}])
    >>> max(table, key=lambda row: row["likelihood"])["code"]
    '12'
    """

    def to_frame(self) -> "pandas.DataFrame":
        """The table as a pandas frame.

        Raises:
            InputError: pandas is not installed.
        """
        frame: pandas.DataFrame = extra("pandas", "figures").DataFrame(list(self))
        return frame


def epochs_table(phases: Mapping[str, PhaseDirectory]) -> Table:
    """The epochs of phases, counted from 0: tau with its interval, mean losses, and the top-1 of both ends."""
    return Table(
        {"phase": name, "epoch": epoch.number}
        | _interval("tau", asdict(epoch.tau) if epoch.tau else {})
        | {f"loss_{which}": loss for which, loss in epoch.loss.items()}
        | {f"top1_{end}": epoch.top1.get(end) for end in ("largest", "smallest")}
        for name, directory in phases.items()
        for epoch in read_log(directory.log).epochs
    )


def scores_table(directory: Path, default: Space) -> Table:
    """The merged scores of an evaluation by each metric, with costs.

    Args:
        default: the space, if the evaluation does not describe one.

    Raises:
        InputError: nothing is merged there.
    """
    read = {metric: read_evaluation(directory, metric, default) for metric in merged_by(directory) or BEST_FIRST[:1]}
    first = next(iter(read.values()))
    network, rows = network_of(first.manifest, merged_manifest_path(directory), default), Table()
    for name, scored in first.scores.items():
        cost, scores = (
            network.cost(network.space.decode(scored.code)),
            {key: read[key].scores[name].acc for key in read},
        )
        rows.append({"id": name, "code": scored.code, **scores, "macs": cost.macs, "params": cost.params})
    return rows


def taus_table(study: Study) -> Table:
    """How well each phase and each count ranks the ground truth."""
    rows = {**{f"phase {name}": row for name, row in study.phase_rows.items()}, **study.proxy_rows}
    return Table(
        {"ranking": name, "archs": row.n} | _interval("tau", asdict(row.kendall)) for name, row in rows.items()
    )


def verdicts_table(judged: Mapping[str, Any]) -> Table:
    """What `judge` says of each ranking: on all networks, and at equal cost.

    Args:
        judged: `Judgement.values()`.
    """
    return Table(
        {"ranking": name, "networks": networks} | _interval("tau", order["tau"]) | _interval("gain", order["gain"])
        for name, verdict in {**judged["predicted"], **judged["counts"]}.items()
        for networks, order in (("all", verdict["whole"]), ("of equal cost", verdict["equal_cost"]))
    )


def _interval(name: str, values: Mapping[str, float | None]) -> dict[str, Any]:
    return {name: values.get("value"), f"{name}_low": values.get("low"), f"{name}_high": values.get("high")}
