"""The judge command, from files of predictions and truths to what it prints."""

import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.judge import main
from fewshot_nas.ranking.judgement import judge
from fewshot_nas.ranking.predictions import read_predictions
from fewshot_nas.ranking.truth import open_truth
from fewshot_nas.records.files import read_json, write_csv, write_json
from fewshot_nas.space.presets import SPACES

TABLES = os.environ.get("FEWSHOT_NAS_TRUTHS", "")
RESNETS = SPACES["channel_resnet"]


@pytest.fixture(scope="module")
def table():
    """Every 41st of the ResNets by width, in the form of the public table: wide is good, but at the end."""
    rng, found = np.random.default_rng(0), {}
    for digits in list(itertools.product("1234", repeat=7))[::41]:
        key = "".join(digits)
        cost = RESNETS.cost(RESNETS.decode(key), num_classes=10)
        quality = 90 + sum(map(int, digits[:4])) / 4 - int(digits[6]) / 8
        runs = (quality + 0.1 * rng.normal(size=3)).tolist()
        found[key] = {"acc": runs, "std": 0.1, "mean": float(np.mean(runs)), "flops": cost.macs, "params": cost.params}
    return found


@pytest.fixture
def place(tmp_path, monkeypatch, table):
    """A directory with the table, and predictions of its networks."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "table.json", table)
    good = {key: sum(map(int, key[:4])) - 0.5 * int(key[6]) for key in table}
    write_csv(
        tmp_path / "mine.csv", ["key", "rule_0", "rule_30"], [[key, value, -value] for key, value in good.items()]
    )
    write_json(tmp_path / "mine.json", good)
    return tmp_path


TRUTH = "--truth=channel_resnet=table.json"


def test_each_column_is_judged_beside_counts_and_rankers_without_scores(place, capsys):
    assert main(["mine.csv", TRUTH, "--spent=3.8Mx35M", "--out=judged.json"]) == 0
    said = capsys.readouterr().out
    for name in (
        "rule_0",
        "rule_30",
        "macs",
        "params",
        "ridge without scores, 100 truths",
        "one seed against the others",
    ):
        assert re.search(rf"^{re.escape(name)} +[+-]0\.\d", said, re.MULTILINE), name
    assert "at equal cost, the mean of 10 classes of multiply-adds" in said
    assert "an oracle without noise" in said
    found = read_json(place / "judged.json")
    assert found["networks"] == 400
    one, other = (found["predicted"][name]["equal_cost"]["tau"]["value"] for name in ("rule_0", "rule_30"))
    assert one == pytest.approx(-other)
    assert one > 0.5
    assert found["training"] == pytest.approx(
        3e6 * np.mean([each["flops"] for each in read_json(place / "table.json").values()])
    )


def test_all_forms_of_a_file_say_the_same(place, table):
    plain = read_predictions(place / "mine.json")["value"]
    write_json(place / "nested.json", {key: {"a": value, "note": "x"} for key, value in plain.items()})
    write_json(
        place / "archs.json",
        {f"arch{at}": {"acc": value, "arch": key} for at, (key, value) in enumerate(plain.items())},
    )
    rows = [[f"arch{at}", key, value, 1, 2] for at, (key, value) in enumerate(plain.items())]
    write_csv(place / "predicted.csv", ["id", "code", "predicted_prob_percent", "error_percent", "macs"], rows)
    assert read_predictions(place / "nested.json") == {"a": plain}
    assert read_predictions(place / "archs.json") == {"acc": plain}
    assert read_predictions(place / "predicted.csv") == {"predicted_prob_percent": plain}
    assert read_predictions(place / "mine.csv", ["rule_0"]) == {"rule_0": plain}
    assert read_predictions(place / "predicted.csv", ["macs"])["macs"] == dict.fromkeys(plain, 2.0)


def test_without_a_file_counts_are_judged(place, capsys):
    assert main([TRUTH]) == 0
    assert "class by class, accuracy in %, by macs:" in capsys.readouterr().out


def test_networks_without_a_prediction_and_keys_without_a_truth_do_not_count(place, table, capsys):
    keys = list(table)
    write_json(place / "part.json", {**dict.fromkeys(keys[:200], 1.0), keys[3]: 2.0, "4444443": 3.0})
    write_json(place / "few.json", {key: {"acc": 90, "arch": key} for key in keys[:50]})
    assert main(["part.json", "mine.json", TRUTH, "--fitted_to=few.json"]) == 0
    said = capsys.readouterr().out
    assert "part.json: value: 1 of its 201 keys are not in the truth, and do not count" in said
    assert "50 networks that predictions were fitted to do not count" in said
    assert "150 networks of channel_resnet" in said


def test_a_column_with_the_name_of_a_count_keeps_its_own_numbers(place, table, capsys):
    write_csv(place / "macs.csv", ["key", "macs"], [[key, -entry["flops"]] for key, entry in table.items()])
    assert main(["macs.csv", TRUTH]) == 0
    said = capsys.readouterr().out
    (ours,) = re.findall(
        r"gain is over macs \(counted\).*?\nranking.*?\nmacs +-(0\.\d+)", said.partition("at equal cost")[0], re.DOTALL
    )
    (counted,) = re.findall(r"^macs \(counted\) +\+(0\.\d+)", said.partition("at equal cost")[0], re.MULTILINE)
    assert ours == counted
    write_csv(place / "both.csv", ["key", "macs", "macs (counted)"], [[key, 1, 2] for key in table])
    assert main(["both.csv", TRUTH]) == 0
    assert "macs (counted) (counted)" in capsys.readouterr().out


def test_columns_that_lack_networks_are_named(place, table, capsys):
    keys = list(table)
    write_json(
        place / "holes.json", {key: {"a": 1.0 * at, "b": None if at < 10 else 2.0} for at, key in enumerate(keys)}
    )
    assert main(["holes.json", TRUTH]) == 0
    said = capsys.readouterr().out
    assert "b: 10 networks of other columns have no number here, and do not count" in said
    assert "390 networks of" in said
    write_json(place / "mixed.json", {keys[0]: 1.0, **{key: {"a": 2.0} for key in keys[1:]}})
    with pytest.raises(InputError, match=r"0 networks have a value in all columns \(value: 1, a: 399\)"):
        main(["mixed.json", TRUTH])


def test_a_table_as_pandas_writes_it_has_no_column_of_row_numbers(place, table):
    rows = [[at, at, key, at, 2.0] for at, key in enumerate(table)]
    write_csv(place / "frame.csv", ["", "Unnamed: 0", "Key", "ID", "a"], rows)
    assert read_predictions(place / "frame.csv") == {"a": dict.fromkeys(table, 2.0)}


def test_spaces_quotes_and_blank_lines_do_not_matter(place):
    Path("loose.csv").write_text('\r\n"key", "a"\r\n"1111111", "1.5"\r\n\r\n')
    assert read_predictions(Path("loose.csv")) == {"a": {"1111111": 1.5}}


def test_only_ranks_own_table_is_reduced_to_what_it_predicts(place):
    Path("own.csv").write_text("key,predicted_a,b\n1111111,1,2\n")
    assert list(read_predictions(Path("own.csv"))) == ["predicted_a", "b"]
    Path("own.csv").write_text("key,predicted_a,error_percent\n1111111,1,2\n")
    assert list(read_predictions(Path("own.csv"))) == ["predicted_a"]


def test_an_arch_file_with_more_than_an_accuracy_keeps_its_codes_as_keys(place):
    write_json(place / "more.json", {"arch1": {"arch": "1111111", "acc": 80, "id": 3, "prob": 0.5}})
    assert read_predictions(place / "more.json") == {"acc": {"1111111": 80.0}, "prob": {"1111111": 0.5}}


@pytest.mark.parametrize("form", ["list.json", "keys.csv", "holes.csv"])
def test_networks_that_predictions_were_fitted_to_are_left_out_whatever_stands_beside_their_keys(
    place, table, form, capsys
):
    keys = list(table)[:10]
    write_json(place / "list.json", keys)
    write_csv(place / "keys.csv", ["code"], [[key] for key in keys])
    write_csv(place / "holes.csv", ["key", "a"], [[key, "" if at % 2 else "x"] for at, key in enumerate(keys)])
    assert main(["mine.csv", TRUTH, f"--fitted_to={form}"]) == 0
    assert "10 networks that predictions were fitted to do not count" in capsys.readouterr().out


def test_a_hint_at_lost_zeros_is_given_only_where_zeros_help(tmp_path):
    write_json(tmp_path / "mine.json", {"1012": 1.0})
    truth = tmp_path / "table.json"
    space = SPACES["macro"]
    costs = {key: space.cost(space.decode(key), num_classes=10) for key in ("00001012", "02012100", "11111111")}
    entries = enumerate(costs.items())
    write_json(
        truth, {key: {"test_acc": [90 + at], "flops": cost.macs, "params": cost.params} for at, (key, cost) in entries}
    )
    with pytest.raises(InputError, match=r"were leading zeros lost\?"):
        main([str(tmp_path / "mine.json"), f"--truth=macro={truth}"])
    write_json(tmp_path / "other.json", {"1111": 1.0, "4444444": 2.0})
    with pytest.raises(InputError) as caught:
        main([str(tmp_path / "other.json"), "--truth=digits"])
    assert "leading zeros" not in str(caught.value)


def test_shipped_truths_know_their_archs_by_both_names(tmp_path, capsys):
    truth = open_truth("digits")
    by_id = {f"arch{number}": float(number) for number in range(1, 31)}
    write_json(tmp_path / "mine.json", by_id)
    assert main([str(tmp_path / "mine.json"), "--truth=digits"]) == 0
    said = capsys.readouterr().out
    assert "30 networks of" in said
    assert "what the seeds' noise allows" not in said
    assert "points lost" not in said
    assert {truth.network(arch_id) for arch_id in by_id} == {truth.network(key) for key in truth.keys}
    assert len(open_truth("fashion_pairs").keys) == 200


def test_what_counts_are_worth_on_the_authors_truth(capsys):
    """As the first page and the page of ImageNet say."""
    assert main(["--truth=imagenet"]) == 0
    assert re.search(r"depth +\+0\.638", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"1111111": "much"}, "1111111: value is 'much'|no column of numbers"),
        ({"1111111": 1, "1111112": None, "1111113": "x"}, "1111113: value is 'x', expected a finite number"),
        ({"1111111": float("nan")}, "expected a finite number"),
        ({"1111115": 1}, "character 7 is '5'"),
        ({"111111": 1}, "code '111111' has 6 characters, expected 7"),
        ({"arch1": 1}, "space channel_resnet: code 'arch1'"),
        ([1, 2], "expected an object with a number for each key"),
        ({}, "there are no predictions in it"),
        ({"a": {"acc": 1, "arch": "1111111"}, "b": {"acc": 1, "arch": "1111111"}}, "occurs twice"),
        ({"a": {"acc": 1, "arch": [1, 2]}}, r"a: the arch is \[1, 2\], expected a code"),
        ({"1111111": 1, "1111112": 10**400}, "1111112: value is 1000.*expected a finite number"),
    ],
)
def test_a_wrong_json_file_is_refused(place, content, said):
    Path("wrong.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"wrong.json.*({said})"):
        main(["wrong.json", TRUTH])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,a\n1111111,1\n1111111,2\n", "line 3: '1111111' occurs twice"),
        ("key,a\n,1\n", "line 2 has no key"),
        ("code,id\n1111111,2\n", "no column of numbers"),
        ("key,a\n1111111\n", "line 2 has another number of cells"),
        ("key,a\n1111111,1,2\n", "line 2 has another number of cells"),
        ("key,a,a\n1111111,1,2\n", "expected different ones"),
        ("key\n1111111\n", "the first line is 'key', expected heads for keys and numbers"),
        ("key;a\n1111111;1\n", "the first line is 'key;a', expected heads.*with commas"),
        ("", "the file is empty"),
        ("id,Code,a\n1,x,1\n", "code 'x'"),
        ("key,a\n", "there are no predictions"),
        ("1111111,1\n1111112,2\n", "the first line is"),
        ("key,a,b\n1111111,x,1\n1111112,2,2\n", "1111111: a is 'x'"),
        ("key,a\n1111111,1\n1111112,inf\n", "1111112: a is 'inf'"),
    ],
)
def test_a_wrong_csv_file_is_refused(place, text, said):
    Path("wrong.csv").write_text(text)
    with pytest.raises(InputError, match=f"wrong.csv.*{said}"):
        main(["wrong.csv", TRUTH])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table["1111111"].update(flops=1), "1111111 has Cost.*flops|1111111 has Cost"),
        (lambda table: table["1111111"].pop("acc"), "1111111: expected a list 'acc' or 'test_acc'"),
        (lambda table: table["1111111"].update(acc=[]), "expected percentages, one for each seed"),
        (lambda table: table["1111111"].update(acc="93"), "1111111: expected a list 'acc' or 'test_acc'"),
        (lambda table: table["1111111"].update(flops=float("inf")), "1111111: expected a list 'acc'"),
        (lambda table: [each.update(acc=[0.9, 0.91, 0.92]) for each in table.values()], "no accuracy is above 0.92"),
        (lambda table: [each.update(acc=[90, 90, 90]) for each in table.values()], "all accuracies are 90, so there"),
        (lambda table: table["1111111"].update(acc=[900, 1, 2]), "expected percentages"),
        (lambda table: table["1111111"].update(acc=[90, 91]), "accuracies, expected"),
        (lambda table: table.update({"02012100": table["1111111"]}), "is it the table of channel_resnet"),
        (lambda table: table.clear(), "expected an object with an entry for each network"),
    ],
)
def test_a_table_that_is_not_the_public_one_is_refused(place, table, change, said):
    copied = read_json(place / "table.json")
    change(copied)
    Path("other.json").write_text(json.dumps(copied))
    with pytest.raises(InputError, match=said):
        main(["mine.csv", "--truth=channel_resnet=other.json"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--truth=macro"], "macro, whose table is not shipped; give its file as macro=FILE"),
        (["--truth=nothing"], "expected one of digits,.*or module:name"),
        (["--truth=digits="], "expected NAME or NAME=FILE"),
        (["--truth=digits=none.json"], "none.json: no such file"),
        (["--truth=math:sqrt=9"], "Truth|must be real"),
        (["mine.csv", TRUTH, "--column=rule_9"], "there is no column 'rule_9', but there are rule_0, rule_30"),
        (["none.csv", TRUTH], "none.csv: no such file"),
        (["none.csv", "--truth=digits=none.json"], "none.csv: no such file"),
        (["mine.csv", TRUTH, "--fitted_to=mine.json"], "--fitted_to leaves 0 networks of the truth"),
        ([TRUTH, "--spent=4M"], "expected images times multiply-adds of one"),
        ([TRUTH, "--spent=0x4M"], "expected images times multiply-adds of one"),
    ],
)
def test_mistakes_are_one_sentence(place, arguments, said):
    with pytest.raises((InputError, TypeError), match=said):
        main(arguments)


# Measured with other code, on half of each table; of what is a mean over draws, other draws are as good.
KNOWN = {
    "channel_resnet": ("channel_bench_resnet", (0.67, 0.16), (0.51, -0.14), (0.62, 0.30), 0.81),
    "channel_mobilenet": ("channel_bench_mobilenet", (0.55, 0.11), (0.43, 0.03), (0.66, 0.51), 0.83),
    "macro": ("nas_bench_macro", (0.55, 0.12), (0.22, -0.31), (0.90, 0.83), 0.97),
}
RIDGES = {
    "channel_resnet": {10: (0.66, 0.27), 30: (0.74, 0.44), 100: (0.78, 0.52), 1000: (0.79, 0.55)},
    "channel_mobilenet": {10: (0.69, 0.53), 30: (0.78, 0.67), 100: (0.80, 0.70), 1000: (0.81, 0.72)},
    "macro": {10: (0.56, 0.42), 30: (0.73, 0.59), 100: (0.82, 0.73), 1000: (0.86, 0.79)},
}


@pytest.mark.slow
@pytest.mark.skipif(not TABLES, reason="FEWSHOT_NAS_TRUTHS names no directory with the public tables")
@pytest.mark.parametrize("name", KNOWN)
def test_the_public_tables_have_the_published_figures(name):
    file, macs, params, seed, ceiling = KNOWN[name]
    (path,) = Path(TABLES).glob(f"{file}*.json")
    found = judge({}, open_truth(f"{name}={path}"))
    for count, expected in (("macs", macs), ("params", params)):
        verdict = found.counts[count]
        assert (verdict.whole.tau.value, verdict.equal_cost.tau.value) == pytest.approx(expected, abs=0.02)
    assert found.seed == pytest.approx(seed, abs=0.02)
    assert found.ceiling[0] == pytest.approx(ceiling, abs=0.03)
    assert found.ridge.keys() >= RIDGES[name].keys()
    for truths, expected in RIDGES[name].items():
        assert found.ridge[truths] == pytest.approx(expected, abs=0.08 if truths < 100 else 0.025), truths
    if name == "channel_resnet":
        assert [each.mean() for each in found.oracle] == pytest.approx([0.11, 0.02], abs=0.02)
