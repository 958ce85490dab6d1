"""Processes that watch each other, so that a fault of one ends all of them, with one sentence.

A process that raises an error says so on a board before it leaves. One that is killed closes its
connections. One that is stopped does neither, and the others would wait for it: so each process
leaves a sign of life every second, and one whose signs stop counts as stopped.
"""

import _thread
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from fewshot_nas.cli.errors import EndedError, InputError, KnownError, interruption, said_by_machine
from fewshot_nas.cli.launcher import leave_with

AGAIN = "the same command goes on from the last saved state"

_LEFT = "left"
_BOARD = "board"
_PATIENCE = 7  # rounds for the main thread to end by itself, unless it is stuck in a collective
_STORE = "the process that the others meet at (rank 0, or the launcher)"


def whereabouts() -> str:
    """This process, as a person can find it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class Watch:
    """One process's part: its own signs of life, and what it knows of the others.

    Signs and board are keys of the store that the process group was made with, under a name of
    their own. A thread exchanges them. Another one checks them, because the first one is stuck if the
    process that keeps the store is stopped. Both count their own rounds rather than seconds: a
    process that has been stopped itself, or that a busy machine starves, accuses nobody.

    Args:
        name: the same on all processes, and new for each group.
        others: where the other processes are, by rank.
        silence_s: without a sign of life, after which a process counts as stopped.
        connect: makes a connection of our own to the store; the group's waits while it is used.
        leave: ends this process from a thread, with a sentence, and whether it is the first to say it.
    """

    def __init__(
        self,
        name: str,
        rank: int,
        others: dict[int, str],
        silence_s: float,
        connect: Callable[[], Store],
        leave: Callable[..., None] = leave_with,
    ) -> None:
        self._rank, self._others, self._silence_s, self._leave = rank, others, silence_s, leave
        self._interval_s = min(1.0, silence_s / 5)
        self._store = PrefixStore(name, connect())
        self._store.set(str(rank), "0")
        self._over, self._posting = threading.Event(), threading.Lock()
        self._known: str | None = None  # what has ended a process
        self._mine = False  # whether this process was the first to say it
        self._ending = False  # whether the main thread is about to end this process
        self._unanswered = 0  # rounds since the store has answered
        self._signs = dict.fromkeys(others, (b"", 0))  # each process's last sign, and the rounds since it changed

    def start(self) -> None:
        """Begin; all processes have been constructed by now."""
        for work in (self._exchange, self._check):
            threading.Thread(target=work, name=f"watch{work.__name__}", daemon=True).start()

    def stop(self) -> None:
        """Say that this process ends as it should."""
        self._over.set()
        try:
            self._store.set(str(self._rank), _LEFT)
        except RuntimeError:
            return  # the process that keeps the store has left before

    def verdict(self, error: BaseException) -> BaseException:
        """What an error of this process is to end with: itself, or what another process has said before.

        An interrupted process may tidy up with others that have gone. Then the interruption counts.
        """
        self._ending = True
        error = interruption(error) or error
        if lost := _is_lost_connection(error):
            time.sleep(3 * self._interval_s)  # for its reason to arrive: on the board, or as SIGTERM
            who = " and ".join(self._silent(rounds=2)) or "another process"
            self._post(f"the connection to {who} is lost: it was killed, or its machine has failed; {AGAIN}")
        elif isinstance(error, Exception):
            self._post(said(error, self._rank))
        if self._known is None:
            return error
        time.sleep(2 * self._interval_s)  # for the others to read the board; rank 0 takes it along
        if self._mine and not lost and isinstance(error, Exception):
            return error
        return (EndedError if self._mine else KnownError)(self._known)

    def _post(self, sentence: str) -> None:
        """Put a sentence on the board, unless another process has been faster."""
        with self._posting:
            if self._known is not None:
                return
            try:
                self._take(self._store.compare_set(_BOARD, "", f"{self._rank} {sentence}"))
            except RuntimeError:
                self._found_alone(sentence)

    def _take(self, posted: bytes) -> None:
        rank, _, sentence = posted.decode().partition(" ")
        self._mine, self._known = rank == str(self._rank), sentence

    def _found_alone(self, sentence: str) -> None:
        """Rank 0, which keeps the store where the launcher does not, has gone or hangs; of the others one speaks."""
        self._mine, self._known = self._rank == 1, sentence

    def _silent(self, rounds: int) -> list[str]:
        """Who has given no sign of life for so many rounds, and has not left."""
        if self._unanswered >= rounds:
            return [_STORE]
        late = (rank for rank, (sign, since) in self._signs.items() if sign != _LEFT.encode() and since >= rounds)
        return [f"rank {rank} ({self._others[rank]})" for rank in late]

    def _exchange(self) -> None:
        beats = 0
        while not self._over.wait(self._interval_s):
            beats += 1
            try:
                self._store.set(str(self._rank), str(beats))
                if self._known is None and self._store.check([_BOARD]):
                    self._take(self._store.get(_BOARD))
                signs = self._store.multi_get([str(rank) for rank in self._others])
            except RuntimeError:
                return
            self._unanswered = 0
            for rank, sign in zip(self._others, signs, strict=True):
                before, since = self._signs[rank]
                self._signs[rank] = sign, since + 1 if sign == before else 0

    def _check(self) -> None:
        late = f"has given no sign of life for {self._silence_s:g} s, so all end; {AGAIN}"
        while not self._over.wait(self._interval_s):
            self._unanswered += 1
            if self._known is None and (silent := self._silent(math.ceil(self._silence_s / self._interval_s))):
                say = self._found_alone if silent == [_STORE] else self._post  # without a store there is no board
                say(f"{' and '.join(silent)} {late}")
            if self._known is not None:
                self._end(self._known)
                return

    def _end(self, sentence: str) -> None:
        """End this process: as SIGTERM would, and if the main thread is stuck, without it."""
        if not self._ending:
            _thread.interrupt_main(signal.SIGTERM)
        if not self._over.wait(_PATIENCE * self._interval_s):
            self._leave(sentence, first=self._mine)


def connection() -> Store:
    """A connection to the store at the address that the launcher gives to all processes."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    timeout = timedelta(seconds=60)
    return dist.TCPStore(address, port, is_master=False, timeout=timeout)


def _is_lost_connection(error: BaseException) -> bool:
    """Whether a collective failed because another process has gone; gloo has no type of its own for it."""
    return isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo" in str(error))


def said(error: Exception, rank: int) -> str:
    """A process's error as a sentence for the others."""
    if machine := said_by_machine(error):
        return f"process {rank}: {machine}"
    reason = " ".join(str(error).split()) or "no reason given"
    return reason if isinstance(error, InputError) else f"process {rank} failed ({type(error).__name__}: {reason})"
