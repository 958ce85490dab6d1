"""What a run of `fit` knows, as `fit.json` holds it, the command lines that follow, and how it keeps to its budget."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fewshot_nas.cli.main import duration
from fewshot_nas.config import Config, load_config
from fewshot_nas.fitting.plan import FEWEST_SCORED, NETWORKS, RANKER, Costs, Plan, trained, without
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import FoundDirectory, NetworkDirectory, RunFiles
from fewshot_nas.results.run import found_directory, latency_tables, run_directory, run_files, stand_alone_directory
from fewshot_nas.space.cost import Limits, cost_measures, read_bounds
from fewshot_nas.space.pool import id_beside
from fewshot_nas.timing.table import read_table

NAME = "fit"  # of the search
_STAGE = "1"


@dataclass(frozen=True)
class Fit:
    """A run of `fit`.

    Attributes:
        state: what `fit.json` holds.
        since_s: when it began, by `time.monotonic`, less what it had spent before.
    """

    save: str
    device: str | None
    state: dict[str, Any]
    since_s: float

    @property
    def files(self) -> RunFiles:
        return run_files(self.save)

    @property
    def config(self) -> Config:
        return load_config(self.files.fit_settings)

    @property
    def plan(self) -> Plan:
        return Plan(**self.state["plan"])

    @property
    def bounds(self) -> list[str]:
        """As `search` takes them."""
        return list(self.state["bounds"])

    @property
    def spent_s(self) -> float:
        """Of the budget, up to now."""
        return time.monotonic() - self.since_s

    def note(self, **changes: Any) -> None:
        self.state.update(changes, spent_s=round(self.spent_s, 1))
        write_json(self.files.fit, self.state)

    def network(self, name: str) -> NetworkDirectory:
        arch_id = NAME if name == "found" else id_beside(self.state["codes"][name])
        return stand_alone_directory(self.save, arch_id, self.config.run.seed)

    def limits(self) -> Limits:
        config = self.config
        space = config.space.build()
        measures = cost_measures(space, num_classes=self.state["seen"]["classes"])
        if tables := latency_tables(self.save):
            measures["latency"] = read_table(tables[0]).measure
        return Limits(space, read_bounds([], self.bounds), measures)

    def words(self, name: str) -> list[str]:
        """The command line of a step."""
        run, planned, settings = f"--save={self.save}", self.state["plan"], f"--config={self.files.fit_settings}"
        device = [f"--device={self.device}"] if self.device else []
        images = f"--images={planned['images']}"
        match name:
            case "pool":
                size, out = f"--size={self.state['pool']}", f"--out={self.config.run.pool}"
                return ["make_pool", settings, size, "--parts=1", out]
            case "latency":
                return ["latency", run, settings, "--rounds=5", *device]
            case "supernet":
                return ["train_supernet", run, settings, *device]
            case "scores":
                return ["test", run, "--epoch=0", f"--sample={planned['sample']}", images, *device]
            case "merge":
                return ["merge", run, f"--stage={_STAGE}", f"--epoch=0_sample{planned['sample']}", "--top=prob"]
            case "ranker":
                return ["rank", run, "--top=prob"]
            case "search":
                by = "supernet" if "ranker" in planned["left_out"] else "ranker"
                budget, most = f"--budget={planned['search']}", [f"--max={bound}" for bound in self.bounds]
                return ["search", run, *most, "--top=prob", budget, images, f"--name={NAME}", *device, f"--by={by}"]
            case "found" | "reference" | "random":
                found, codes = f"--from_search={self.search.found}", self.state["codes"]
                which = found if name == "found" else f"--target_arch_num={codes[name]}"
                return [
                    "train_stand_alone",
                    run,
                    which,
                    "--no_test",
                    f"stand_alone.epochs={planned['epochs']}",
                    *device,
                ]
            case "export":
                file, int8 = self.exported.with_suffix(".pt2"), ["--int8"] * self.state["int8"]
                given = [f"--model={self._winner}", f"--out={file}", "--onnx", "--with-preprocessing"]
                return ["export", *given, *int8, *device]
        assert name == "report"
        return ["report", run, "--top=prob"]

    @property
    def search(self) -> FoundDirectory:
        """The search within the bounds."""
        return found_directory(self.save, NAME)

    @property
    def exported(self) -> Path:
        """The network for other programs."""
        directory = run_directory(self.save)
        return directory / "fit" / f"{directory.name}.onnx"

    @property
    def _winner(self) -> str:
        return str(read_json(self.files.answer)["networks"][self.state["winner"]]["model"])


# ---- steps that take longer than was planned: what is left out, and what is said -------------------------------------
#
# Trainings tell how much slower the machine has become; what is left is then expected to take as much longer.

_LATE = 1.1  # times the budget; what would end later is left out
_LATEST = 1.25  # the same for the reference, without which nothing is compared
STEADY = 1.5  # times as long as when they were timed steps may take, so that all ends within `_LATEST`


def slower(made: Plan, took_s: Mapping[str, float]) -> float:
    """How many times as long as planned the last training took; 1 if it was faster, or there was none."""
    known = [name for name in ("supernet", *NETWORKS) if name in took_s]
    return max([1.0, *(took_s[name] / made.seconds[name] for name in known[-1:])])


def left_s(made: Plan, done: Collection[str]) -> float:
    """The seconds of the steps that are not done."""
    return sum(seconds for name, seconds in made.seconds.items() if name not in done)


def in_time(made: Plan, done: Collection[str], budget_s: float, spent_s: float, slower: float) -> Plan:
    """The plan without what would end too late: the random arch, the ranker, and once a network is trained, the other.

    Args:
        done: the steps that are done.
        slower: how many times as long as planned the other steps will take.
    """
    for names, latest in ((("random",), _LATE), (RANKER, _LATE), (("reference",), _LATEST)):
        late_s = spent_s + slower * left_s(made, done) - budget_s
        begun = any(name in done for name in names) or (names == ("reference",) and "found" not in done)
        if late_s <= (latest - 1) * budget_s or begun:
            continue
        made = without(made, names, f"with it all would end {duration(late_s)} after the budget")
        if names == RANKER and "search" not in done and made.search > FEWEST_SCORED:
            fewer_s = made.seconds["search"] * FEWEST_SCORED / made.search
            made = replace(made, search=FEWEST_SCORED, seconds={**made.seconds, "search": round(fewer_s, 1)})
    return made


def lateness(made: Plan, done: Collection[str], budget_s: float, spent_s: float, slower: float) -> str:
    """That the budget will be passed, for a person; empty if it will not."""
    late_s = spent_s + slower * left_s(made, done) - budget_s
    if late_s <= 0:
        return ""
    why = f": steps take {slower:.1f} times as long as when they were timed" if slower >= 1.05 else ""
    return f"the budget of {duration(budget_s)} will be passed by about {duration(late_s)}{why}"


def timed(
    made: Plan, known: Costs, step_s: Mapping[str, float], reference_s: float, supernet_took_s: float, rest_s: float
) -> Plan:
    """The plan with the epochs that the time allows, as the networks that were found train.

    A moment may be quieter than the time to come, so the supernet's pace counts where that was slower.

    Args:
        step_s: of each network, at this moment.
        reference_s: a step of the space's reference at this moment.
        rest_s: for these networks.
    """
    now = reference_s / known.step_s
    pace = max(now, supernet_took_s / made.seconds["supernet"])
    return trained(made, known.at(pace), {name: each * pace / now for name, each in step_s.items()}, rest_s)
