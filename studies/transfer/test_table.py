"""The page on the pipeline has the numbers that were measured."""

from statistics import fmean

from fewshot_nas.records.files import read_json
from studies.common import ROOT
from studies.transfer.run import RESULTS


def test_the_page_has_the_means_over_the_seeds():
    seeds = read_json(RESULTS).values()
    mean = {arm: f"{fmean(seed[arm] for seed in seeds):.1f} %" for arm in next(iter(seeds))}
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8").replace("\n", " ")
    assert f"that reaches {mean['start 0.1 30']} (three seeds; {mean['nothing 30']} from nothing" in page
    assert f"{mean['start 0.02 30']} at rate 0.02), and is worth 60 epochs from nothing" in page
    assert abs(fmean(seed["start 0.1 30"] - seed["nothing 60"] for seed in seeds)) < 0.5
