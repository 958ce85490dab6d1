"""A run from Python: its methods are the commands, take their settings and options, and return values.

They are methods because `fewshot_nas.search`, `.judge` and `.export` are the commands' modules, once they are imported.
"""

import argparse
import csv
import importlib
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_nas.__main__ import main
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import uses
from fewshot_nas.config import Config, load_config
from fewshot_nas.records.files import read_json
from fewshot_nas.reporting.gather import Study, Table, epochs_table, gather, scores_table, taus_table, verdicts_table
from fewshot_nas.results.directories import PhaseDirectory, epoch_of, merged_path
from fewshot_nas.results.evaluations import leading_metric, merged_evaluations
from fewshot_nas.results.found import read_found
from fewshot_nas.results.run import known_phases, phase_directory, phase_of, run_files, stored_settings
from fewshot_nas.space.pool import read_arch_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

File = Path | str
Progress = Callable[[str], object]


class Run:
    """A run of the pipeline, in `results/<save>`. What is there already is not computed again.

    Methods take settings, and the options of their command: `run.search(max={"macs": "2M"}, budget=100)` is
    `fewshot-nas search --max=macs=2M --budget=100`. True stands for an option without a value, False for the one that
    begins with `--no-`, a list for an option that is repeated. After Ctrl-C, the same call goes on where it was.

    Args:
        save: the run's name.
        settings: such as `"training.epochs=4"`, for all commands that use them.
        config: a YAML file of settings; by default those that the run was begun with.
        progress: is called with each line that a command says, when what it says is on disk; by default lines are
            printed.

    Raises:
        InputError: from every method, in the command's words.

    Examples:
        >>> said = []
        >>> run = Run("digits", progress=said.append)  # train() is done already
        >>> scores = run.score(images=30, calibration_images=32, epoch=0)
        >>> len(scores), run.scores() == scores
        (30, True)
        >>> best = max(scores, key=lambda row: row[run.metric()])
        >>> run.export(best["code"], "best.safetensors", calibrate=False)["macs"] == best["macs"]
        True
        >>> [line for line in said if "card" in line]
        ['card: best.json']
    """

    def __init__(self, save: str, *settings: str, config: File | None = None, progress: Progress | None = None) -> None:
        self.save, self._settings, self._file, self._progress = save, settings, config, progress

    def train(self, *settings: str, **options: object) -> Table:
        """Train the one-shot supernet (`train_supernet`). Returns `epochs()`."""
        self.command("train_supernet", *settings, **options)
        return self.epochs()

    def split(self, groups: int | str | None = None, *settings: str, **options: object) -> Table:
        """Split the last supernet, and train it on (`train_few_shot`). Returns `epochs()`.

        Args:
            groups: their number; None where options such as `split_by="choice"` say what the groups are.
        """
        self.command("train_few_shot", *settings, group_nums=groups, **options)
        return self.epochs()

    def train_alone(self, archs: int | str = "all", *settings: str, **options: object) -> Table:
        """Train archs on their own (`train_stand_alone`). Returns the run's ground truth as it is then.

        Args:
            archs: numbers in the pool, such as `"1-30"`.
        """
        self.command("train_stand_alone", *settings, target_arch_num=archs, **options)
        study = self._study
        return Table({"id": id_, "code": study.codes[id_], "accuracy": study.truth[id_].acc} for id_ in study.truth)

    def score(self, phase: int | str = 1, *settings: str, **options: object) -> Table:
        """Score the pool, or a sample of it, by a phase's supernet (`test` and `merge`). Returns the scores.

        For archs of your own there is `fewshot_nas.score(run.supernet(), archs)`.
        """
        from fewshot_nas.scoring.evaluate import evaluate  # here, because it waits for torch

        with self._heard():
            directory = evaluate(_parsed("test", self._line("test", settings, phase=phase, **options)))
        if directory is None:
            return Table()
        self.command("merge", *_used("merge", settings), phase=phase, epoch=epoch_of(directory))
        return scores_table(directory, self._config.space.build())

    def rank(self, *settings: str, **options: object) -> Table:
        """Predict every arch of the pool (`rank`). Returns predictions, their errors, and costs."""
        self.command("rank", *settings, **options)
        with run_files(self.save).prediction_table.open(newline="", encoding="utf-8") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
        return Table({name: row[name] if name in ("id", "code") else float(row[name]) for name in row} for row in rows)

    def search(self, *settings: str, **options: object) -> Table:
        """Search within bounds (`search`). Returns the archs that no other one beats, the best first."""
        from fewshot_nas.searching.explore import search
        from fewshot_nas.searching.request import request

        asked = _parsed("search", self._line("search", settings, **options))
        with self._heard():
            found = read_found(search(asked, request(asked)).found)
        return Table({"code": arch.code, "score": arch.score, **arch.costs} for arch in found.front)

    def judge(self, truth: str, *files: File, **options: object) -> Table:
        """Judge scores by a truth (`judge`). Returns taus, and gains over the best count.

        Args:
            truth: such as `digits`, or `digits=FILE` for accuracies of your own.
            files: predictions; by default each phase's scores.
        """
        study = self._study
        scores = [merged_path(each.evaluation.directory, study.metric) for each in study.phases if each.evaluation]
        options = {"truth": truth, "out": run_files(self.save).judged, **options}
        self._call("judge", [*map(str, files or scores), *_words(**options)])
        return verdicts_table(read_json(Path(str(options["out"]))))

    def export(
        self, code: str | None, out: File, *settings: str, phase: int | str = 1, **options: object
    ) -> dict[str, Any]:
        """Write a subnet to a file such as `best.pt2` (`export`). Returns its deployment card.

        Args:
            code: None where `model=FILE` is a network that was trained alone.
        """
        options = {"model": self.supernet(phase), "arch": code, "out": out, **options}
        self._call("export", [*_words(**options), *self._own("export"), *settings])
        return dict(read_json(Path(out).with_suffix(".json")))

    def command(self, name: str, *settings: str, **options: object) -> None:
        """Do any other command for this run, such as `run.command("report")` or `run.command("latency", rounds=5)`."""
        self._call(name, self._line(name, settings, **options))

    def epochs(self) -> Table:
        """The epochs of all phases so far, counted from 0: tau, losses, and top-1 of the largest and the smallest."""
        return epochs_table(self._phases)

    def scores(self, phase: int | str = 1) -> Table:
        """The scores of a phase that count: of its present supernet, on the ranking images, of the most archs."""
        directory = self._phase(phase)
        found = [*merged_evaluations(directory), directory.scores("0")]
        return scores_table(found[0], self._config.space.build())

    def taus(self) -> Table:
        """How well each phase's scores, and counts of depth, parameters and multiply-adds, rank the ground truth."""
        return taus_table(self._study)

    def plot(self, name: str = "ranking") -> "Figure":
        """A figure of matplotlib: `ranking`, `truth`, `tau` by epoch, or `cost_1`, ... of the scores of a phase.

        Raises:
            InputError: there are no data for it, or matplotlib is not installed.
        """
        from fewshot_nas.reporting.page import drawings

        drawn = drawings(self._study)
        if name not in drawn:
            raise InputError(f"figure {name!r} is not one of this run, expected {', '.join(drawn) or 'a training'}")
        return drawn[name]

    def metric(self) -> str:
        """The score that commands go by: `likelihood`, or `prob` where hardly a mistake is left."""
        return leading_metric(list(self._phases.values()))

    def supernet(self, phase: int | str = 1) -> Path:
        """The file of a phase's supernet, for `fewshot_nas.score` and `fewshot_nas.extract`."""
        return self._phase(phase).chosen

    @property
    def _config(self) -> Config:
        return load_config(Path(self._file) if self._file else stored_settings(self.save), self._settings)

    @property
    def _phases(self) -> dict[str, PhaseDirectory]:
        return {phase.name: phase_directory(self.save, phase) for phase in known_phases(self.save)}

    @property
    def _study(self) -> Study:
        config = self._config
        space, path = config.space.build(), config.truth_path(self.save)
        truth = read_arch_file(path, space) if path.exists() else {}
        return gather(self.save, self._phases, truth, space, self.metric())

    def _phase(self, phase: int | str) -> PhaseDirectory:
        return phase_directory(self.save, phase_of(self.save, str(phase)))

    def _own(self, command: str) -> list[str]:
        return [*_words(config=self._file), *_used(command, self._settings)]

    def _call(self, command: str, words: Sequence[str]) -> None:
        with self._heard():
            main([command, *words])

    def _line(self, command: str, settings: Sequence[str], **options: object) -> list[str]:
        return [f"--save={self.save}", *self._own(command), *settings, *_words(**options)]

    def _heard(self) -> AbstractContextManager[object]:
        return redirect_stdout(_Lines(self._progress)) if self._progress else nullcontext()


class _Lines(io.TextIOBase):
    """Hands every whole line that is written to a function, which itself may print."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._begun, self._before = progress, "", sys.stdout

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        with redirect_stdout(self._before):
            for line in lines:
                self._progress(line)
        return len(text)


def _parsed(command: str, words: Sequence[str]) -> argparse.Namespace:
    parser: argparse.ArgumentParser = importlib.import_module(f"fewshot_nas.{command}")._parser()
    return parser.parse_intermixed_args(words)


def _used(command: str, settings: Iterable[str]) -> list[str]:
    return [each for each in settings if uses(command, each.partition(".")[0])]


def _words(**options: object) -> list[str]:
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, Mapping):
            words += [f"--{name}={key}={each}" for key, each in value.items()]
        elif value is not None:
            words += [f"--{name}={each}" for each in (value if isinstance(value, list | tuple) else [value])]
    return words
