from dataclasses import astuple

import pytest
import torch

from fewshot_nas.evaluation.inputs import Sums, sums
from studies.cifar10_truths.kinds import KINDS, found_in, values


def test_scores_are_those_of_the_package_and_a_factor_of_the_logits_does_not_matter_at_the_best_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(1000, 10, generator=generator), torch.randint(10, (1000,), generator=generator)
    logits[torch.arange(1000), labels] += 2
    plain, sharp = (
        dict(zip(KINDS, values(found_in(factor * logits, labels), 1000), strict=True)) for factor in (1, 2.5)
    )
    top1, _, prob, likelihood = astuple(Sums(*sums(logits, labels).tolist()).accuracy(1000))
    assert [plain["top1"], plain["prob"], plain["likelihood"]] == pytest.approx([top1, prob, likelihood], abs=1e-3)
    assert plain["likelihood"] < prob < plain["root"]
    assert abs(sharp["likelihood"] - plain["likelihood"]) > 3
    assert plain["calibrated"] >= max(plain["likelihood"], sharp["likelihood"])
    assert sharp["calibrated"] == pytest.approx(plain["calibrated"], abs=0.2)
