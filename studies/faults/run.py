"""What becomes of several processes when one of them fails: fault x moment, at random points.

    python -m studies.faults.run --out results/faults.jsonl --runs 20                  about an hour of a core
    python -m studies.faults.run --out results/faults.jsonl --fault stop --moment step
    python -m studies.faults.run --out studies/faults/results.jsonl --table          a row for each fault

Three gloo processes train a supernet on the digits, or score a pool. At a random point of the moment that is
asked for, a fault hits a random process. Noted are the exit codes, how long the others took to end, and what was
said. Then the same command runs again, and its result is compared bit by bit with that of a run without a fault.
Nothing starts the processes again or ends them, as torchrun would, so all that happens is the package's own doing.
Runs that are in the file already are left out.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sklearn.datasets
import torch

from fewshot_nas import test, train_supernet
from fewshot_nas.cli.main import run as run_command
from fewshot_nas.evaluation import executors
from fewshot_nas.running import supernets
from fewshot_nas.scoring import evaluate
from fewshot_nas.space.pool import Entry, make_pool, part_path, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.training.loop import Loop

Command = Callable[[Sequence[str] | None], int]

SIZE = 3
SILENCE_S = 10  # on a machine that does other things as well
GIVEN_UP_S = 60
FAULTS = ("raise", "kill", "stop", "disk", "term")
SENTENCES = ("error: ", "terminated", "RuntimeError: ")
MOMENTS = ("step", "save", "validation", "scoring")

RUN = ["--save=run", "--device=cpu", "data.train_images=96", "data.valid_images=30", f"run.silence_s={SILENCE_S}"]
TRAIN = [*RUN, "space.base_widths=[4,6,10,20]", "evaluation.calibration_images=24", "run.checkpoint_steps=2"]
TRAIN += ["training.epochs=3", "training.batch_size=24"]
SCORE = ["--save=run", "--device=cpu", "--epoch=3", "--json_part=1-2", f"run.silence_s={SILENCE_S}"]
COMMANDS = {"step": (train_supernet.main, TRAIN), "scoring": (test.main, SCORE)}
COMMANDS |= {"save": COMMANDS["step"], "validation": COMMANDS["step"]}
# What commands import late: here once, and not in each of thousands of processes.
IMPORTED = (evaluate, supernets, sklearn.datasets)


class Fault(NamedTuple):
    """What happens, when, and to which process.

    Attributes:
        at: the point: a step, or how many work units the process has computed.
    """

    kind: str
    moment: str
    rank: int
    at: int


class Outcome(NamedTuple):
    """How three processes have ended.

    Attributes:
        codes: exit codes by rank, negative for signals.
        ended_s: from the fault to the end of the last process that could end by itself.
        said: what they wrote on standard error.
    """

    codes: list[int]
    ended_s: float
    said: str


def drawn(kind: str, moment: str, number: int) -> Fault:
    """A fault at a random point, the same for the same number."""
    rng = random.Random(f"{kind}/{moment}/{number}")
    rank = 0 if kind == "disk" else rng.randrange(SIZE)
    points = {"step": range(12), "save": range(2, 12, 2), "validation": range(2), "scoring": range(3)}
    return Fault(kind, moment, rank, rng.choice(points[moment]))


def strike(fault: Fault, parent: int) -> None:
    """Let the fault happen, in the process that it hits."""
    (Path.cwd() / "struck").write_text(str(time.time()))
    if fault.kind == "raise":
        raise RuntimeError("a fault put in")
    if fault.kind == "disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    elif fault.kind == "term":
        os.kill(parent, signal.SIGUSR1)  # which passes SIGTERM on to all
        time.sleep(GIVEN_UP_S)
    else:
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault.kind])


def prepare_for(fault: Fault, parent: int) -> None:
    """Put the fault in where it is to happen; for a process of its own, so nothing is put back."""
    due = [lambda: strike(fault, parent)]

    def once() -> None:
        if due:
            due.pop()()

    {"step": at_step, "save": while_saving}.get(fault.moment, at_unit)(fault.at, once)


def at_step(step: int, once: Callable[[], None]) -> None:
    """Before the training of a step."""
    real = Loop._train_on

    def train_on(self: Loop, *batch: Any) -> None:
        if self.step == step:
            once()
        real(self, *batch)

    Loop._train_on = train_on  # type: ignore[method-assign]


def while_saving(step: int, once: Callable[[], None]) -> None:
    """Rank 0 has written the file but not yet renamed it; the others wait for it."""
    real, fsync = Loop._save, os.fsync

    def save(self: Loop) -> None:
        if self.step >= step and self.world.is_rank0:
            os.fsync = lambda stream: (once(), fsync(stream))  # type: ignore[assignment]
        elif self.step >= step:
            once()
        real(self)

    Loop._save = save  # type: ignore[method-assign]


def at_unit(place: int, once: Callable[[], None]) -> None:
    """When the process has taken a work unit, or when none is left."""
    real = executors._Exchange.taken

    def taken(self: executors._Exchange) -> Iterator[int]:
        for number, unit in enumerate(real(self)):
            if number == place:
                once()
            yield unit
        once()

    executors._Exchange.taken = taken  # type: ignore[method-assign]


def run(directory: Path, command: Command, argv: list[str], fault: Fault | None) -> Outcome:
    """Run a command in three processes, with a fault or without."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    (directory / "struck").unlink(missing_ok=True)
    pipe, parent = os.pipe(), os.getpid()
    children: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: [os.kill(child, signal.SIGTERM) for child in children])
    for rank in range(SIZE):
        child = os.fork()
        if not child:
            os._exit(_work(directory, rank, port, pipe, lambda: _with(fault, parent, command, argv)))
        children.append(child)
    os.close(pipe[1])
    codes, ended = _wait(children)
    signal.signal(signal.SIGUSR1, before)
    struck = directory / "struck"
    since = float(struck.read_text()) if struck.exists() else ended
    with os.fdopen(pipe[0]) as stream:
        return Outcome(codes, ended - since, stream.read())


def _with(fault: Fault | None, parent: int, command: Command, argv: list[str]) -> int:
    if fault is None or fault.rank != int(os.environ["RANK"]):
        return run_command(command, argv)
    prepare_for(fault, parent)
    return run_command(command, argv)


def _work(directory: Path, rank: int, port: int, pipe: tuple[int, int], work: Callable[[], int]) -> int:
    os.chdir(directory)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(SIZE), "LOCAL_WORLD_SIZE": str(SIZE)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.dup2(pipe[1], 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        return work()
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()


def _wait(children: list[int]) -> tuple[list[int], float]:
    """Exit codes, and when the last process ended by itself; what is stopped or late is killed, as a launcher would."""
    codes: dict[int, int] = {}
    begun = ended = time.time()
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                codes[child], ended = os.waitstatus_to_exitcode(status), time.time()
        left = set(children) - set(codes)
        if left and (all(map(_stopped, left)) or time.time() - begun > 2 * GIVEN_UP_S):
            for child in left:
                os.kill(child, signal.SIGKILL)
                codes[child] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.02)
    return [codes[child] for child in children], ended


def _stopped(child: int) -> bool:
    return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def prepare(directory: Path) -> None:
    """A pool of two parts and a ground truth, for commands with the defaults' paths."""
    space = SPACES["px8"]
    pool = make_pool(space, seed=0, size=300)
    for number, part in enumerate(split_pool(pool, 2), start=1):
        path = part_path(directory / "json_file" / "json8", number)
        write_arch_file(path, space, {key: Entry(0.0, arch) for key, arch in part.items()})
    truth = {key: Entry(90 + place / 10, pool[key]) for place, key in enumerate(list(pool)[:12])}
    write_arch_file(directory / "json_file" / "digits" / "gt_arch30.json", space, truth)


def result(directory: Path, moment: str) -> dict[str, Any]:
    """What a command has made, for comparison: tensors, or the bytes of files."""
    files = directory / "results" / "run"
    if moment == "scoring":
        return {path.name: path.read_bytes() for path in sorted((files / "json_results").glob("*/*_json*.json"))}
    if not (files / "supernet.pth").exists():
        return {}
    supernet = torch.load(files / "supernet.pth", weights_only=True)
    return dict(supernet["model"])


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results have the same bits."""
    if not one or one.keys() != other.keys():
        return False
    pairs = [(one[key], other[key]) for key in one]
    return all(torch.equal(*pair) if isinstance(pair[0], torch.Tensor) else pair[0] == pair[1] for pair in pairs)


def hit(directory: Path, fault: Fault, expected: dict[str, Any]) -> dict[str, Any]:
    """Run a command with a fault and again without; what is worth noting."""
    command, argv = COMMANDS[fault.moment]
    outcome = run(directory, command, argv, fault)
    again = run(directory, command, argv, None)
    resumed = again.codes == [0] * SIZE and same(result(directory, fault.moment), expected)
    sentences = [line for line in outcome.said.splitlines() if line.startswith(SENTENCES)]
    facts = {"codes": outcome.codes, "ended_s": round(outcome.ended_s, 1), "said": len(sentences), "same_bits": resumed}
    as_promised = resumed and len(sentences) == 1 and all(outcome.codes)
    return {**fault._asdict(), **facts} | (
        {} if as_promised else {"again": again.codes, "words": outcome.said + again.said}
    )


def study(out: Path, faults: Sequence[str], moments: Sequence[str], count: int) -> None:
    """Add the runs that a file does not have."""
    known = {(each["kind"], each["moment"], each["number"]) for each in records(out)}
    for moment in moments:
        with tempfile.TemporaryDirectory() as place:
            begun, whole = Path(place) / "begun", Path(place) / "whole"
            begin(begun, moment)
            shutil.copytree(begun, whole)
            assert run(whole, *COMMANDS[moment], None).codes == [0] * SIZE
            for kind in faults:
                for number in range(count):
                    if (kind, moment, number) in known or (kind, moment) == ("disk", "validation"):
                        continue  # nothing is written while a supernet is measured
                    broken = Path(place) / f"{kind}{number}"
                    shutil.copytree(begun, broken)
                    found = hit(broken, drawn(kind, moment, number), result(whole, moment))
                    with out.open("a") as stream:
                        stream.write(json.dumps({"number": number, **found}) + "\n")
                    shutil.rmtree(broken)


def begin(directory: Path, moment: str) -> None:
    """What the command of a moment needs."""
    prepare(directory)
    if moment == "scoring":
        assert run(directory, *COMMANDS["step"], None).codes == [0] * SIZE


def records(out: Path) -> list[dict[str, Any]]:
    """What a file has."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown."""
    yield "| fault | runs | all failed | ended after, s: median, most | said once | same bits after resuming |"
    yield "|---|---|---|---|---|---|"
    for kind in FAULTS:
        if runs := [each for each in found if each["kind"] == kind]:
            seconds = sorted(each["ended_s"] for each in runs)
            failed = sum(all(code != 0 for code in each["codes"]) for each in runs)
            once, bits = sum(each["said"] == 1 for each in runs), sum(each["same_bits"] for each in runs)
            times = f"{seconds[len(seconds) // 2]:.1f}, {seconds[-1]:.1f}"
            yield f"| {kind} | {len(runs)} | {failed} | {times} | {once} | {bits} |"


def main() -> None:
    """Run, or show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--moment", choices=MOMENTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print("\n".join(table(records(options.out))))
        return
    torch.set_num_threads(1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    kinds, moments = [options.fault] if options.fault else FAULTS, [options.moment] if options.moment else MOMENTS
    study(out, kinds, moments, options.runs)


if __name__ == "__main__":
    main()
