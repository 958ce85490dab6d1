"""How long programs take on this machine, kept in a file, so that plans that are made again agree.

Other processes make a moment slow or fast. So a time is the fastest of several short ones, without pauses where that
can be told, and what all of them waited, together, says by how much everything will be slower.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_json

MOST_SLOWED = 4.0  # times as long as alone: a process also waits for its disk, and more would throw the budget away
_BOUT_S, _BOUTS = 0.1, 5  # a short measurement, and how many
_LONGEST_S = 2.0  # a program that takes longer runs once
_GAP_S, _PROBES = 0.15, 10  # pauses of the first look at the machine, so that it covers more than a moment
_SLOWED = 1.1  # less is not worth a word
Program = Callable[[], object]


@dataclass
class Timings:
    """Times of programs, by their names.

    Attributes:
        path: file that keeps them; None: nothing is kept.
        machine: what they belong to, as plain values.
        known: seconds of a call, alone on the machine.
        computed_s: what all measured calls would have taken alone.
        waited_s: the pauses that they had beside it.
        at: when the first was measured, for a person.
    """

    path: Path | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    known: dict[str, float] = field(default_factory=dict)
    computed_s: float = 0.0
    waited_s: float = 0.0
    at: str = ""

    @classmethod
    def of(cls, path: Path, machine: Mapping[str, Any]) -> "Timings":
        """Those of a file, if it is there and was made on this machine; else none."""
        if path.exists():
            try:
                kept = cls(path, **read_json(path))
            except (InputError, TypeError):  # of another version, or torn: it is measured again
                kept = cls(path)
            if kept.machine == machine:
                return kept
        return cls(path, machine)

    @property
    def slowed(self) -> float:
        """How many times as long as alone programs take beside other processes."""
        return min(MOST_SLOWED, 1 + self.waited_s / self.computed_s) if self.computed_s else 1.0

    def seconds(self, name: str, measure: Callable[[], float]) -> float:
        """What is known by a name; it is measured, and kept, if it is not."""
        if name not in self.known:
            self.keep({name: measure()})
        return self.known[name]

    def alone_s(self, name: str, making: Callable[[], Program], *, one_thread: bool, enough_s: float = 0.5) -> float:
        """Seconds of a call of a program, if nothing else ran on the machine.

        Args:
            making: makes the program, which returns when all is computed.
            one_thread: it computes in this thread only, so that the processor's clock tells its pauses.
            enough_s: to measure for.
        """

        def measure() -> float:
            alone_s, calls, wall_s = measured(making(), one_thread, enough_s)
            self.computed_s += alone_s * calls
            self.waited_s += max(0.0, wall_s - alone_s * calls)
            return alone_s

        return self.seconds(name, measure)

    def look(self) -> None:
        """See how busy the machine is, unless that is known: some hundredths of a second of computing, with pauses."""
        if self.known:
            return
        self.at = time.strftime("%Y-%m-%d %H:%M")
        matrix = torch.ones(200, 200)

        def run() -> None:
            for _ in range(4):
                matrix @ matrix

        with threads_of(1):
            for probe in range(_PROBES):
                self.alone_s(f"probe {probe}", lambda: run, one_thread=True, enough_s=0.03)
                time.sleep(_GAP_S)

    @property
    def said(self) -> str:
        """How busy the machine was, and where this is kept."""
        slowed = (
            f"other processes make all {self.slowed:.1f} times as slow as alone"
            if self.slowed >= _SLOWED
            else "no other process makes it slower"
        )
        kept = f"; {self.path} keeps this for other budgets; remove it to measure again" if self.path else ""
        return f"{slowed} (measured {self.at}{kept})"

    def keep(self, seconds: Mapping[str, float]) -> None:
        """Keep what was measured, by its names."""
        self.known.update(seconds)
        if self.path:
            write_json(self.path, {key: value for key, value in vars(self).items() if key != "path"})


def measured(run: Program, one_thread: bool, enough_s: float = 0.5) -> tuple[float, int, float]:
    """Seconds of a call alone: of the fastest of several short measurements; the calls, and all their seconds."""
    clock = time.process_time if one_thread else time.perf_counter
    wall_s, own_s = time.perf_counter(), clock()
    run()  # chooses kernels
    if (first_s := time.perf_counter() - wall_s) > _LONGEST_S:
        return clock() - own_s, 1, first_s
    begun_s, calls, best_s, bouts = time.perf_counter(), 0, float("inf"), 0
    while bouts < _BOUTS or time.perf_counter() - begun_s < enough_s:
        wall_s, own_s, done = time.perf_counter(), clock(), 0
        while not done or time.perf_counter() - wall_s < min(_BOUT_S, enough_s / _BOUTS):
            run()
            done += 1
        best_s, calls, bouts = min(best_s, (clock() - own_s) / done), calls + done, bouts + 1
        if time.perf_counter() - begun_s > _LONGEST_S:
            break
    return best_s, calls, time.perf_counter() - begun_s


@contextmanager
def threads_of(threads: int) -> Iterator[None]:
    """So many threads of torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def key(what: str, *values: Any) -> str:
    """A name for what values make."""
    return f"{what} {blake2b(repr(values).encode(), digest_size=6).hexdigest()}"
