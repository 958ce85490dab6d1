"""Small made-up runs: files of two phases, and what is gathered from them."""

import json
import random

import pytest

from fewshot_nas.records.files import write_json, write_text
from fewshot_nas.reporting.gather import gather
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.scores import LEADING, Scored
from fewshot_nas.space.pool import Entry, make_pool
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

ARCHS = make_pool(PX8, seed=0, size=60)
SPACE = PX8


def epoch_record(number, tau=0.5):
    interval = {"value": tau, "low": tau - 0.2, "high": tau + 0.1, "error": 0.1}
    return {
        "epoch": number,
        "step": 10 * number,
        "loss": {"largest": 2.0 - number / 10, "sampled1": 1.0, "sampled2": 1.5, "smallest": 1.75},
        "top1": {"largest": 97.0, "smallest": 90.0, "arch1": 91.0, "arch2": 94.0, "arch3": 93.0},
        LEADING: {"largest": 94.0, "smallest": 80.0, "arch1": 83.0, "arch2": 82.0, "arch3": 84.0},
        "tau": interval,
        "spearman": interval,
        "pearson": interval,
        "n": 3,
    }


@pytest.fixture
def archs():
    return ARCHS


@pytest.fixture
def truth():
    """Twelve archs with accuracies that rise with their number."""
    return {f"arch{number}": Entry(80 + number, ARCHS[f"arch{number}"]) for number in range(1, 13)}


@pytest.fixture
def phase_files(tmp_path):
    """Makes the files of a phase."""

    def make(name, *, epochs=3, chosen=None, manifest=None, evaluations=()):
        directory = PhaseDirectory(tmp_path / name)
        records = [epoch_record(number) for number in range(epochs)]
        records += [{"chosen": {"epoch": chosen, "file": "x.pth", "rule": "latest"}}] if chosen is not None else []
        if records:
            write_text(directory.log, "".join(json.dumps(record) + "\n" for record in records))
        if manifest:
            write_json(directory.manifest, manifest)
        for epoch in evaluations:
            directory.scores(epoch).mkdir(parents=True)
        return directory

    return make


@pytest.fixture
def merged():
    """Writes merged scores that follow the arch's number."""

    def write(directory, count=60, split="test", metric="top1", **more):
        rng = random.Random(count)
        scores = {
            arch_id: Scored(60 + 0.5 * number + rng.random(), PX8.encode(arch))
            for number, (arch_id, arch) in enumerate(list(ARCHS.items())[:count])
        }
        write_merged(directory, metric, scores, {"split": split, "images": 5000, **more})
        return scores

    return write


@pytest.fixture
def study(phase_files, merged, truth):
    """Two phases that have been trained and scored."""
    first = phase_files("1", chosen=1, manifest={"seed": 0, "versions": {"torch": "2.9"}}, evaluations=["1_all_test"])
    second = phase_files("2", epochs=2, chosen=0, manifest={"parent": {"sha256": "ab"}}, evaluations=["0_all_test"])
    merged(first.scores("1_all_test"), 40)
    merged(second.scores("0_all_test"), 60)
    return gather("demo", {"1": first, "2": second}, truth, SPACE)


@pytest.fixture
def empty_study(phase_files):
    """A phase that has only begun."""
    return gather("demo", {"1": phase_files("1", epochs=0)}, {}, SPACE)
