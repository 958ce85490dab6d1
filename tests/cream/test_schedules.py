"""Learning rates at the start, in the middle and at the end."""

import pytest
import torch
from timm.scheduler.scheduler_factory import create_scheduler_v2

from fewshot_nas.cream.retraining import RetrainSchedule
from fewshot_nas.cream.searching import SearchSchedule

SEARCH = SearchSchedule(epochs=120, warmup_epochs=0, batch_size=1, lr=0.5, clip_value=0.0, seed=0, checkpoint_steps=1)
RETRAIN = RetrainSchedule(
    epochs=510,
    warmup_epochs=3,
    batch_size=1,
    lr=0.064,
    clip_value=0.0,
    seed=0,
    checkpoint_steps=1,
    warmup_lr=1e-6,
    min_lr=1e-5,
    cooldown_epochs=10,
)
PER_EPOCH = 20


@pytest.mark.parametrize(("step", "rate"), [(0, 0.5), (1200, 0.25), (2399, 0.5 / 2400)])
def test_the_search_falls_linearly(step, rate):
    assert SEARCH.rate(PER_EPOCH)(step) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 1e-6),
        (1.5, (1e-6 + 0.064) / 2),
        (250, (1e-5 + 0.064) / 2),
        (500, 1e-5),
        (509.95, 1e-5),
    ],
)
def test_the_retraining_warms_up_follows_a_cosine_and_cools_down(epoch, rate):
    assert RETRAIN.rate(PER_EPOCH)(round(epoch * PER_EPOCH)) == pytest.approx(rate)


def test_it_is_timm_s_cosine():
    carrier = torch.optim.SGD([torch.zeros(1)], lr=RETRAIN.lr)
    names = ("warmup_epochs", "cooldown_epochs", "warmup_lr", "min_lr")
    given = {name: getattr(RETRAIN, name) for name in names}
    theirs, _ = create_scheduler_v2(
        carrier, sched="cosine", num_epochs=500, step_on_epochs=False, updates_per_epoch=PER_EPOCH, **given
    )
    ours = RETRAIN.rate(PER_EPOCH)
    for step in range(0, 510 * PER_EPOCH, 7):
        theirs.step_update(step)
        assert ours(step) == carrier.param_groups[0]["lr"]


def test_a_rate_does_not_depend_on_what_was_asked_before():
    rate = RETRAIN.rate(PER_EPOCH)
    steps = (7000, 3, 10_150, 60)
    assert [rate(step) for step in steps] == [RETRAIN.rate(PER_EPOCH)(step) for step in steps]


def test_no_step_is_above_the_base_rate():
    rate = RETRAIN.rate(PER_EPOCH)
    assert max(rate(step) for step in range(0, 510 * PER_EPOCH, 7)) <= 0.064
