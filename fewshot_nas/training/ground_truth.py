"""A ground truth, gathered from trainings of single networks."""

from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import locked, read_json, write_json
from fewshot_nas.space.pool import write_codes


@dataclass(frozen=True)
class StandAloneResult:
    """The result of one run: accuracies in percent on the ranking images and on the test images.

    Attributes:
        recipe: digest of everything that the result depends on besides arch and seed.
    """

    arch_id: str
    code: str
    seed: int
    recipe: str
    valid: float
    test: float


class GroundTruth:
    """A ground-truth file, and the results of all its runs beside it, `<file>.runs/<arch>_seed<n>.json`.

    After each run the file is written again from all runs, under a lock, so that any number of
    processes can add to it. Its accuracies are means over seeds on the ranking images. The means on
    the test images are in `<name>_test.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.runs = path, path.with_suffix(".runs")

    def has(self, arch_id: str, seed: int) -> bool:
        return self._run(arch_id, seed).exists()

    def refuse_others(self, recipe: str, arch_id: str, code: str) -> None:
        """Refuse to mix runs that were trained differently, because their means could not be compared.

        Raises:
            InputError: a run has another recipe, or the id stands for another arch.
        """
        for run in self.results():
            path = self._run(run.arch_id, run.seed)
            if run.recipe != recipe:
                raise InputError(
                    f"{path}: was trained with other settings, images or number of processes than now;"
                    " use the old ones, or choose another --ground_truth"
                )
            if run.arch_id == arch_id and run.code != code:
                raise InputError(f"{path}: {arch_id} is {run.code} there, expected {code}; is it of another pool?")

    def add(self, result: StandAloneResult) -> None:
        """Store the result of a run and write the two files again."""
        write_json(self._run(result.arch_id, result.seed), vars(result))
        with locked(self.runs / ".lock", wait=True):
            results = self.results()
            write_codes(self.path, _means(results, "valid"))
            write_codes(self.path.with_stem(f"{self.path.stem}_test"), _means(results, "test"))

    def results(self) -> list[StandAloneResult]:
        """All runs, ordered by arch number and seed.

        Raises:
            InputError: a run's file is malformed.
        """
        return sorted((_read(path) for path in self.runs.glob("*_seed*.json")), key=_order)

    def _run(self, arch_id: str, seed: int) -> Path:
        return self.runs / f"{arch_id}_seed{seed}.json"


def _read(path: Path) -> StandAloneResult:
    try:
        return StandAloneResult(**read_json(path))
    except TypeError:
        raise InputError(f"{path}: is not the result of a stand-alone training; delete it and train again") from None


def _order(result: StandAloneResult) -> tuple[int, str, int]:
    digits = result.arch_id.removeprefix("arch")
    return int(digits) if digits.isdigit() else 0, result.arch_id, result.seed


def _means(results: list[StandAloneResult], split: str) -> dict[str, tuple[float, str]]:
    gathered: dict[str, list[StandAloneResult]] = {}
    for result in results:
        gathered.setdefault(result.arch_id, []).append(result)
    return {
        arch_id: (round(sum(getattr(run, split) for run in runs) / len(runs), 6), runs[0].code)
        for arch_id, runs in gathered.items()
    }
