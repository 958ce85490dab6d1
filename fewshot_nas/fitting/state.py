"""What a run of `fit` knows, as `fit.json` holds it, and the command lines that follow."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.config import Config, load_config
from fewshot_nas.fitting.costs import Costs
from fewshot_nas.fitting.plan import Plan
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
    def costs(self) -> Costs:
        return Costs(**self.state["costs"])

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
                return ["merge", run, f"--stage={_STAGE}", f"--epoch=0_sample{planned['sample']}"]
            case "ranker":
                return ["rank", run]
            case "search":
                by = "supernet" if "ranker" in planned["left_out"] else "ranker"
                budget, most = f"--budget={planned['search']}", [f"--max={bound}" for bound in self.bounds]
                return ["search", run, *most, budget, images, f"--name={NAME}", *device, f"--by={by}"]
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
        return ["report", run]

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
