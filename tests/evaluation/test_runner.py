"""The runner: nothing lost, nothing done twice, nothing half-written, nothing mixed."""

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace

import pytest
import torch

from fewshot_nas.distributed import World
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation import runner
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.naive import score_plainly
from fewshot_nas.evaluation.prefix_tree import make_plan
from fewshot_nas.evaluation.runner import Job, run_job, within_memory
from fewshot_nas.space.pool import read_arch_file
from fewshot_nas.space.search_space import SPACES

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
    plan = make_plan(supernet.split, job.archs, unit_networks=2)
    run_job(job, plan, supernet, inputs, world)


def contents(job):
    return {path.name: path.read_bytes() for path in job.directory.iterdir() if not path.name.startswith(".")}


def test_score_files_hold_what_the_plain_way_finds(job, supernet, inputs):
    run(job, supernet, inputs)
    assert sorted(contents(job)) == [
        f"{kind}{n}.json" for kind in ("manifest", "prob_json", "top1_json", "top5_json") for n in "123"
    ]
    for part, archs in job.parts.items():
        plain = score_plainly(supernet, archs.values(), inputs)
        for metric in ("top1", "top5", "prob"):
            entries = read_arch_file(job.directory / f"{metric}_json{part}.json", SPACES["px8"])
            assert {arch_id: entry.arch for arch_id, entry in entries.items()} == archs
            expected = [getattr(each, metric) for each in plain]
            assert [entry.acc for entry in entries.values()] == pytest.approx(
                expected, rel=1e-5 * (metric == "prob"), abs=0
            )
        manifest = json.loads((job.directory / f"manifest{part}.json").read_text())
        assert manifest == {**MANIFEST, "space": {"widths": [1, 2]}, "part": part, "archs": 4}


class Killed(BaseException):
    pass


def test_an_interrupted_job_continues_with_what_is_missing(job, supernet, inputs, monkeypatch, tmp_path):
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    computed = []

    class Counting(Walk):
        def correct(self):
            if len(computed) in (2, 4):
                computed.append(None)
                raise Killed
            computed.append(self)
            return super().correct()

    monkeypatch.setattr(runner, "Walk", Counting)
    for _ in range(2):
        with pytest.raises(Killed):
            run(job, supernet, inputs)
        assert not list(job.directory.glob("*.json"))
        (journal,) = job.directory.glob("journal_1-3_0.jsonl")
        with journal.open("a") as stream:
            stream.write('{"unit": 5, "corr')  # as a power failure would leave it
    run(job, supernet, inputs)
    units = len(make_plan(supernet.split, job.archs, unit_networks=2).units)
    assert len([walk for walk in computed if walk]) == units
    assert contents(job) == contents(whole)


def leave_a_journal(job, supernet, inputs, monkeypatch):
    """Begin a job and interrupt it in its first unit."""

    class Killing(Walk):
        def correct(self):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(runner, "Walk", Killing)
        with pytest.raises(Killed):
            run(job, supernet, inputs)


def killed_at_random(job, supernet, inputs, delay_s):
    """Run the job in a process of its own and kill it after a while; whether it finished first."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(job, supernet, inputs))
    process.start()
    process.join(delay_s)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_killed_job_ends_in_the_same_bytes(job, supernet, inputs, tmp_path):
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    rng, kills = random.Random(0), 0
    started = time.monotonic()
    while not killed_at_random(job, supernet, inputs, 0.05 + 0.5 * rng.random()):
        kills += 1
        assert time.monotonic() - started < 120, "no progress between kills"
    assert kills > 1
    assert contents(job) == contents(whole)


def test_two_ranks_share_the_units(job, supernet, inputs, tmp_path, monkeypatch):
    whole = replace(job, directory=tmp_path / "whole")
    run(whole, supernet, inputs)
    monkeypatch.setattr(runner, "wait_for_all", lambda world: None)
    # Rank 1 first: it leaves its journal, and rank 0 finds the rest to do.
    run(job, supernet, inputs, World(1, 2, torch.device("cpu")))
    assert not list(job.directory.glob("*.json"))
    run(job, supernet, inputs)
    assert contents(job) == contents(whole)


def test_a_second_process_on_the_same_part_stops(job, supernet, inputs):
    other = replace(job, parts={2: job.parts[2]})

    class Meddling(Walk):
        def correct(self):
            with pytest.raises(InputError, match=r"another process is at work here \(it holds \.part2\.lock\)"):
                run(other, supernet, inputs)
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Walk", Meddling)
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
    with pytest.raises(InputError, match=r"manifest1\.json: was written with checkpoint_sha256=abc, now it is def"):
        other.finished()


def test_a_finished_part_is_not_replaced_by_a_wider_job(job, supernet, inputs):
    run(replace(job, parts={2: job.parts[2]}), supernet, inputs)
    before = contents(job)
    with pytest.raises(InputError, match=r"manifest2\.json: was written with images=100, now it is 50"):
        run(replace(job, manifest={**MANIFEST, "images": 50}), supernet, inputs)
    assert contents(job) == before


def test_units_of_another_plan_are_not_continued(job, supernet, inputs, monkeypatch):
    leave_a_journal(job, supernet, inputs, monkeypatch)
    plan = make_plan(supernet.split, job.archs, unit_networks=3)
    with pytest.raises(InputError, match=r"journal_1-3_0\.jsonl: was written with plan_sha256="):
        run_job(job, plan, supernet, inputs, ALONE)


def test_a_damaged_journal_is_one_sentence(job, supernet, inputs):
    job.directory.mkdir()
    (job.directory / "journal_1-3_0.jsonl").write_text("{}}\n")
    with pytest.raises(InputError, match=r"journal_1-3_0\.jsonl: line 1 is not valid JSON"):
        run(job, supernet, inputs)


def test_a_journal_of_another_evaluation_is_not_continued(job, supernet, inputs, monkeypatch):
    leave_a_journal(job, supernet, inputs, monkeypatch)
    with pytest.raises(InputError, match=r"journal_1-3_0\.jsonl: was written with images=100, now it is 50"):
        run(replace(job, manifest={**MANIFEST, "images": 50}), supernet, inputs)


def test_job_names(job):
    one = job.parts[1]
    assert [replace(job, parts=dict.fromkeys(numbers, one)).name for numbers in ([3], [1, 2, 3], [1, 3])] == [
        "3",
        "1-3",
        "1,3",
    ]


def test_memory_bounds_the_batch_or_refuses(supernet, make_archs, inputs):
    plan = make_plan(supernet.split, make_archs(8), unit_networks=8)
    assert within_memory(plan, supernet, inputs, 4096)[0].batch == inputs.batch
    tight = next(mb for mb in range(800, 4096) if _fits(plan, supernet, inputs, mb))
    bounded, predicted_mb = within_memory(plan, supernet, inputs, tight)
    assert inputs.calibration_batch <= bounded.batch <= inputs.batch
    assert predicted_mb <= tight
    with pytest.raises(InputError, match=rf"memory_mb is {tight - 1}, but {tight} are needed .* of 32 images"):
        within_memory(plan, supernet, inputs, tight - 1)


def _fits(plan, supernet, inputs, memory_mb):
    try:
        return bool(within_memory(plan, supernet, inputs, memory_mb))
    except InputError:
        return False
