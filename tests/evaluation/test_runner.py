"""The runner: nothing lost, nothing done twice, nothing half-written, nothing mixed."""

import json
import os
import re
import stat
from dataclasses import replace

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import numerics
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation import executors
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.executors import executor_for
from fewshot_nas.evaluation.inputs import Accuracy
from fewshot_nas.evaluation.runner import Job, run_job
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.presets import SPACES
from tests.rounding import assert_score_is_plain_but_for_rounding

pytestmark = pytest.mark.numeric

ALONE = World(0, 1, torch.device("cpu"))
MANIFEST = {"checkpoint_sha256": "abc", "images": 100, "space": {"widths": (1, 2)}}


@pytest.fixture
def job(tmp_path, make_archs):
    archs = make_archs(16)
    parts = {number: {f"arch{4 * number + i}": archs[4 * number + i] for i in range(4)} for number in range(4)}
    return Job(tmp_path / "scores", {number: parts[number] for number in (1, 2, 3)}, MANIFEST)


@pytest.fixture(scope="module")
def supernet(make_supernet):
    return make_supernet(2)


def run(job, supernet, inputs, world=ALONE):
    scorer = Scorer(supernet, inputs, executor_for(world), unit_networks=2)
    run_job(job, scorer.plan(job.archs), scorer, world)


def contents(job):
    return {path.name: path.read_bytes() for path in job.directory.iterdir() if not path.name.startswith(".")}


def test_score_files_hold_what_the_plain_way_finds(job, supernet, inputs, capsys):
    run(job, supernet, inputs)
    assert re.search(r"^\d+ % done, about \d+ s left$", capsys.readouterr().out, re.MULTILINE)
    assert sorted(contents(job)) == [
        f"{kind}{n}.json"
        for kind in ("likelihood_json", "manifest", "prob_json", "top1_json", "top5_json")
        for n in "123"
    ]
    for part, archs in job.parts.items():
        files = [
            read_arch_file(job.directory / f"{metric}_json{part}.json", SPACES["px8"])
            for metric in ("top1", "top5", "prob", "likelihood")
        ]
        for entries in files:
            assert {arch_id: entry.arch for arch_id, entry in entries.items()} == archs
        for arch_id, arch in archs.items():
            found = Accuracy(*(entries[arch_id].acc for entries in files))
            assert_score_is_plain_but_for_rounding(found, supernet, arch, inputs)
        manifest = json.loads((job.directory / f"manifest{part}.json").read_text())
        own = {"numerics": {**numerics(ALONE.device), "batch": 40}, "part": part, "archs": 4}
        assert manifest == {**MANIFEST, "space": {"widths": [1, 2]}, **own}


class Killed(BaseException):
    pass


def count_units(monkeypatch):
    """A list that grows by one with each unit that this process computes."""
    computed = []

    class Counting(Walk):
        def sums(self):
            computed.append(None)
            return super().sums()

    monkeypatch.setattr(executors, "Walk", Counting)
    return computed


def interrupt(job, supernet, inputs, monkeypatch, after):
    """Begin a job, or go on with it, and interrupt it after some units."""
    begun = []

    class Killing(Walk):
        def sums(self):
            if len(begun) == after:
                raise Killed
            begun.append(None)
            return super().sums()

    with monkeypatch.context() as patch:
        patch.setattr(executors, "Walk", Killing)
        with pytest.raises(Killed):
            run(job, supernet, inputs)


def test_an_interrupted_job_continues_with_what_is_missing(job, supernet, inputs, monkeypatch, tmp_path):
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    computed = []

    class Counting(Walk):
        def sums(self):
            if len(computed) in (2, 4):
                computed.append(None)
                raise Killed
            computed.append(self)
            return super().sums()

    monkeypatch.setattr(executors, "Walk", Counting)
    for _ in range(2):
        with pytest.raises(Killed):
            run(job, supernet, inputs)
        assert not list(job.directory.glob("*.json"))
        (journal,) = job.directory.glob("journal_1-3.jsonl")
        with journal.open("a") as stream:
            stream.write('{"unit": 5, "corr')  # as a power failure would leave it
    run(job, supernet, inputs)
    units = len(Scorer(supernet, inputs, unit_networks=2).plan(job.archs).units)
    assert len([walk for walk in computed if walk]) == units
    assert contents(job) == contents(whole)


def killed_in_unit(number, kill_me, job, supernet, inputs):
    """Run the job in this process, which is killed when it begins its `number`th unit from here."""

    class Dying(Walk):
        begun = 0

        def sums(self):
            Dying.begun += 1
            return kill_me() if Dying.begun == number else super().sums()

    executors.Walk = Dying  # in a process that does not survive it
    run(job, supernet, inputs)


def test_a_killed_job_ends_in_the_same_bytes(job, supernet, inputs, tmp_path, killed, kill_me):
    """Killed three times, each time after some progress, whatever the speed of the machine."""
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    for number in (1, 2, 3):
        killed(lambda: killed_in_unit(number, kill_me, job, supernet, inputs))  # noqa: B023
    (journal,) = job.directory.glob("journal_1-3.jsonl")
    assert len(journal.read_text().splitlines()) == 3 + (0 + 1 + 2)  # a head for each process, a line for each unit
    run(job, supernet, inputs)
    assert contents(job) == contents(whole)


@pytest.mark.dist
def test_two_ranks_write_the_files_of_one(job, supernet, inputs, tmp_path, ranks):
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)

    def one_of_two():
        with joined("cpu") as world:
            run(job, supernet, inputs, world)

    ranks(2, one_of_two)
    assert contents(job) == contents(whole)


@pytest.mark.dist
def test_two_ranks_continue_what_one_began(job, supernet, inputs, tmp_path, ranks, monkeypatch):
    """A rank that does not see the journal gets its units from the main one all the same."""
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    interrupt(job, supernet, inputs, monkeypatch, after=3)

    def one_of_two():
        computed = count_units(monkeypatch)
        with joined("cpu") as world:
            mine = job if world.is_rank0 else replace(job, directory=tmp_path / "stale")
            run(mine, supernet, inputs, world)
        return len(computed)

    units = len(Scorer(supernet, inputs, unit_networks=2).plan(job.archs).units)
    assert sum(ranks(2, one_of_two)) == units - 3
    assert contents(job) == contents(whole)
    assert not (tmp_path / "stale").exists()


@pytest.mark.dist
def test_all_ranks_end_with_the_sentence_of_the_main_one(job, supernet, inputs, ranks):
    run(job, supernet, inputs)
    other = replace(job, manifest={**MANIFEST, "images": 50})

    def one_of_two():
        with joined("cpu") as world, pytest.raises(InputError) as caught:
            run(other, supernet, inputs, world)
        return str(caught.value)

    said = set(ranks(2, one_of_two))
    assert len(said) == 1
    assert "was written with images 100 (now 50)" in said.pop()


@pytest.mark.parametrize("tail", [b"\0" * 100, b'{"unit": 5, "corr', b'{"unit": 5, "corr' + b"\0" * 9])
def test_what_a_crash_leaves_at_the_end_of_a_journal_is_dropped(job, supernet, inputs, tmp_path, monkeypatch, tail):
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    for _ in range(2):
        interrupt(job, supernet, inputs, monkeypatch, after=1)
        with next(job.directory.glob("journal_*.jsonl")).open("ab") as stream:
            stream.write(tail)
    computed = count_units(monkeypatch)
    run(job, supernet, inputs)
    assert len(computed) == len(Scorer(supernet, inputs, unit_networks=2).plan(job.archs).units) - 2
    assert contents(job) == contents(whole)


def test_a_unit_is_on_disk_before_the_next_begins(job, supernet, inputs, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        if stat.S_ISREG(os.fstat(handle).st_mode):
            synced.append(os.fstat(handle).st_size)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    interrupt(job, supernet, inputs, monkeypatch, after=2)
    (journal,) = job.directory.glob("journal_*.jsonl")
    assert len(synced) == 3  # the head and two units
    assert synced[-1] == journal.stat().st_size


def test_a_second_process_on_the_same_part_stops(job, supernet, inputs):
    other = replace(job, parts={2: job.parts[2]})

    class Meddling(Walk):
        def sums(self):
            with pytest.raises(InputError, match=r"another process is at work here \(it holds \.part2\.lock\)"):
                run(other, supernet, inputs)
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "Walk", Meddling)
        with pytest.raises(Killed):
            run(job, supernet, inputs)
    run(job, supernet, inputs)


def test_parts_alone_and_together_score_alike(job, supernet, inputs, tmp_path):
    run(job, supernet, inputs)
    alone = replace(job, directory=tmp_path / "alone", parts={2: job.parts[2]})
    run(alone, supernet, inputs)
    for name in ("top1_json2.json", "top5_json2.json", "manifest2.json"):
        assert contents(alone)[name] == contents(job)[name]


def test_scores_of_another_checkpoint_are_not_mixed_in(job, supernet, inputs):
    other = replace(job, manifest={**MANIFEST, "checkpoint_sha256": "def"})
    run(job, supernet, inputs)
    assert job.finished()
    with pytest.raises(InputError, match=r"manifest1\.json: was written with checkpoint_sha256 abc \(now def\)"):
        other.finished()


def test_a_finished_part_is_not_replaced_by_a_wider_job(job, supernet, inputs):
    run(replace(job, parts={2: job.parts[2]}), supernet, inputs)
    before = contents(job)
    with pytest.raises(InputError, match=r"manifest2\.json: was written with images 100 \(now 50\)"):
        run(replace(job, manifest={**MANIFEST, "images": 50}), supernet, inputs)
    assert contents(job) == before


def test_who_goes_on_with_other_numerics_is_named(job, supernet, inputs, monkeypatch):
    def on(capability):
        monkeypatch.setattr(executors, "numerics", lambda device: {"cpu_capability": capability})

    on("AVX512")
    interrupt(job, supernet, inputs, monkeypatch, after=0)
    on("AVX2")
    run(job, supernet, inputs)
    manifest = json.loads((job.directory / "manifest1.json").read_text())
    assert manifest["numerics"] == [{"cpu_capability": each, "batch": 40} for each in ("AVX512", "AVX2")]
    assert job.finished()


def test_units_of_another_plan_are_not_continued(job, supernet, inputs, monkeypatch):
    interrupt(job, supernet, inputs, monkeypatch, after=0)
    scorer = Scorer(supernet, inputs, unit_networks=3)
    with pytest.raises(InputError, match=r"journal_1-3\.jsonl: was written with plan_sha256 "):
        run_job(job, scorer.plan(job.archs), scorer, ALONE)


def test_a_damaged_journal_is_one_sentence(job, supernet, inputs):
    job.directory.mkdir()
    (job.directory / "journal_1-3.jsonl").write_text("{}}\n")
    with pytest.raises(InputError, match=r"journal_1-3\.jsonl, line 1: not valid JSON"):
        run(job, supernet, inputs)


def test_a_journal_of_another_evaluation_is_not_continued(job, supernet, inputs, monkeypatch):
    interrupt(job, supernet, inputs, monkeypatch, after=0)
    with pytest.raises(InputError, match=r"journal_1-3\.jsonl: was written with images 100 \(now 50\)"):
        run(replace(job, manifest={**MANIFEST, "images": 50}), supernet, inputs)


def test_job_names(job):
    one = job.parts[1]
    assert [replace(job, parts=dict.fromkeys(numbers, one)).name for numbers in ([3], [1, 2, 3], [1, 3])] == [
        "3",
        "1-3",
        "1,3",
    ]
