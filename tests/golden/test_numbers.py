"""The numbers of a small run of both systems, on any machine, within bounds.

    RENEW=1 pytest tests/golden     writes numbers.json and surface.txt anew

`scripts/compare_versions.py` compares far more, and to the bit, but needs another version beside it. Here initial
weights, draws, losses, scores and costs are those of the day when the file was made. Kernels of other processors move
them by less than a millionth of their size, because rates are low.
"""

import json

import pytest

pytestmark = [pytest.mark.golden, pytest.mark.numeric]
FILES = (
    "results/run/2/json_results/epoch0/*_json_final.json",
    "truth.json",
    "results/cream/search/[bp]*.json",
    "results/cream/search/json_results/epoch2/prob_json1.json",
    "paths.json",
)


def numbers(directory):
    """Numbers and codes by file and place, one of each place a line of a log."""
    found = {}
    for pattern in ("results/**/log.jsonl", *FILES):
        for path in sorted(directory.glob(pattern)):
            text = path.read_text()
            content = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
            found |= dict(leaves(content, str(path.relative_to(directory)).removeprefix("results/")))
    return found


def leaves(value, place):
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in ("time", "chosen", "space"):
                yield from leaves(item, f"{place} {key}")
    else:
        yield place, value


def counted(place):
    """Whether a number is an accuracy, which an image that changes sides moves by 5 points, of 20 images."""
    return any(word in place for word in (" top1", " top5", "/top1_", "/top5_", "truth.json"))


def test_a_run_gives_the_same_numbers_as_before(run, committed):
    found = numbers(run)
    expected = json.loads(committed("numbers.json", json.dumps(found, indent=0, sort_keys=True) + "\n"))
    assert found.keys() == expected.keys()
    assert len(found) > 100
    for place, value in found.items():
        if isinstance(value, float):
            bound = {"abs": 5.01} if counted(place) else {"rel": 2e-5}
            assert value == pytest.approx(expected[place], **bound), place
        else:
            assert value == expected[place], place
