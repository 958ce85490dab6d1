"""A run's results as tables, for Python."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.cli.plugins import extra
from fewshot_nas.reporting.gather import Study
from fewshot_nas.reporting.log import read_log
from fewshot_nas.results.directories import PhaseDirectory, merged_manifest_path, merged_path
from fewshot_nas.results.evaluations import read_evaluation
from fewshot_nas.results.scores import BEST_FIRST, network_of
from fewshot_nas.space.space import Space

if TYPE_CHECKING:
    import pandas


class Table(list[dict[str, Any]]):
    """Rows by the names of their columns. Accuracies, scores and predictions are in percent.

    >>> table = Table([{"code": "11", "prob": 40.0}, {"code": "12", "prob": 60.0}])
    >>> max(table, key=lambda row: row["prob"])["code"]
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
    merged = [metric for metric in BEST_FIRST if merged_path(directory, metric).exists()]
    read = {metric: read_evaluation(directory, metric, default) for metric in merged or BEST_FIRST[:1]}
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
