"""Reading the log of a phase that has ended, is running, or was damaged."""

import json

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import Interval
from fewshot_nas.reporting.log import Epoch, Log, read_log

TAU = {"value": 0.6, "low": 0.3, "high": 0.8, "error": 0.1}


@pytest.fixture
def log(tmp_path):
    """Writes lines and reads them."""

    def read(*lines):
        path = tmp_path / "log.jsonl"
        path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        return read_log(path)

    return read


def test_an_epoch_has_losses_accuracies_and_tau(log):
    record = {"epoch": 3, "loss": {"largest": 1}, "top1": {"a": 95.5}, "likelihood": {"a": 91}, "tau": TAU, "lr": 0.1}
    scores = {"top1": {"a": 95.5}, "top5": {}, "prob": {}, "likelihood": {"a": 91.0}}
    assert log(record) == Log((Epoch(3, {"largest": 1.0}, scores, Interval(0.6, 0.3, 0.8, 0.1)),))


def test_the_chosen_epoch_is_no_epoch(log):
    assert log({"epoch": 0}, {"chosen": {"epoch": 0, "file": "x", "rule": "y"}}) == Log(
        (Epoch(0, {}, {"top1": {}, "top5": {}, "prob": {}, "likelihood": {}}, None),), 0
    )


@pytest.mark.parametrize("tau", [None, {}, TAU | {"value": float("nan")}, TAU | {"value": None}])
def test_tau_may_be_missing(log, tau):
    assert log({"epoch": 0, "tau": tau}).epochs[0].tau is None


def test_no_log_is_an_empty_one(tmp_path):
    assert read_log(tmp_path / "none.jsonl") == Log()


def test_a_record_that_is_being_written_is_passed_over(log):
    assert len(log({"epoch": 0}, '{"epoch": 1, "lo').epochs) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"epoch": 1\n', "not valid JSON"),
        ("[1]\n", r"expected an object, got \[1\]"),
        ('{"epoch": "1"}\n', "epoch is '1', expected a whole number"),
        ('{"epoch": 1, "loss": 2}\n', "loss is 2, expected an object"),
        ('{"epoch": 1, "loss": {"largest": "2"}}\n', "loss.largest is '2', expected a number"),
        ('{"epoch": 1, "tau": {"value": 1}}\n', r"tau has the keys \['value'\]"),
        ('{"chosen": "x"}\n', "chosen is 'x', expected an object"),
    ],
)
def test_a_line_that_is_no_record_is_named(log, line, said):
    with pytest.raises(InputError, match=rf"log\.jsonl, line 2: {said}"):
        log({"epoch": 0}, line)
