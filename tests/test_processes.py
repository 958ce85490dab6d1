"""One process and several train the same: each kind of training, with shares of a batch that are not equal.

Networks compute in float64, where no rounding decides whether a ReLU lets a gradient pass; logits are of float32, so
that is what the bounds are of.
"""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from fewshot_nas.computing import DefaultSettings
from fewshot_nas.cream.board import Board, ByBatch
from fewshot_nas.cream.flops import Budget
from fewshot_nas.cream.retraining import averaged
from fewshot_nas.cream.searching import SearchTask
from fewshot_nas.cream.teaching import BoardTeacher, Matching, PathSampler, PathStep
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.distributed import World, joined
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import by_width, one_shot
from fewshot_nas.training.draws import RandomArchs, Sampler, SpaceEnds
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Loop, Schedule
from fewshot_nas.training.step import Largest, Regularization, SupernetStep
from fewshot_nas.training.supernet_task import SupernetTask
from fewshot_nas.training.task import Learning, NetworkTask, Source, plain_groups, sgd
from tests.kinds import GATED, MBCONV
from tests.rounding import bound, terms

pytestmark = [pytest.mark.dist, pytest.mark.numeric]

BATCH, STEPS, CLASSES = 10, 2, 3  # three processes have 3, 3 and 4 images
SCHEDULE = Schedule(epochs=2, warmup_epochs=0, batch_size=BATCH, lr=0.1, clip_value=1.0, seed=0, checkpoint_steps=99)
BUDGET = Budget(MBCONV, 0, 1000)


class Exactly:
    """A task whose network computes in float64, without what comes after an epoch."""

    def __init__(self, task):
        self.task, self.step = task, self
        self.network, self.optimizer, self.names = task.network, task.optimizer, task.step.names

    def backward(self, network, batch):
        return self.task.step.backward(network, batch._replace(images=batch.images.double()))

    def after_backward(self, batch, trained, means):
        self.task.after_backward(batch._replace(images=batch.images.double()), trained, means)

    def end_epoch(self, epoch):
        return {}

    def save(self, path, state):
        pass


def network(make):
    """With first weights in float64; norms are random, for those at 0 would hide the gradients of their blocks."""
    torch.manual_seed(0)
    made = make().double()
    for parameter in made.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.2, 0.8)
    return made.to(memory_format=torch.channels_last)


def optimizer_of(network):
    return sgd(plain_groups(network, 1e-3), 0.9)


def sandwiches(world):
    """Dropout and drop connect for the largest arch, which teaches the others."""
    made, options = network(lambda: Supernet(by_width(GATED, 3), CLASSES)), GATED.all_options
    sampler = Sampler(RandomArchs(GATED, 0, options), SpaceEnds(GATED, 0, options), 1)
    step = SupernetStep(sampler, teacher=Largest(), regularization=Regularization(0.1, dropout=0.5, drop_connect=0.5))
    return SupernetTask(
        network=made, optimizer=optimizer_of(made), step=step, world=world, options=options, validation=None
    )


def alone(world):
    made = network(lambda: Subnet(GATED, GATED.largest, CLASSES))
    made.head.dropout = 0.5
    optimizer = optimizer_of(made)
    return NetworkTask(network=made, optimizer=optimizer, step=Learning(0.1, "fp32"), valid=None, calibrates=False)


def retraining(world):
    task = alone(world)
    return replace(task, average=averaged(task.network, task.optimizer, 0.5))


def searching(world):
    """The second epoch has teachers, and the matching network learns."""
    made, matching = network(lambda: Supernet(one_shot(MBCONV), CLASSES)), Matching(1, CLASSES).double()
    sampler, keeping = PathSampler(0, BUDGET, (0.25,) * 4), ByBatch(Board(3), BUDGET, 1, world)
    teacher = BoardTeacher(
        keeping=keeping,
        matching=matching,
        optimizer=torch.optim.Adam(matching.parameters(), 0.01),
        per_epoch=1,
        rate=lambda step: 0.1,
        world=world,
        start_epoch=1,
        slice=1,
        update_every=1,
    )
    return SearchTask(
        network=made,
        optimizer_of=optimizer_of,
        step=PathStep(sampler=sampler, teacher=teacher, regularization=Regularization(0.1)),
        world=world,
        inputs=None,
        due=frozenset(),
        board_file=None,
    )


KINDS = {"supernet": sandwiches, "alone": alone, "retraining": retraining, "searching": searching}


def trained(kind, world, directory):
    """All tensors that a training leaves."""
    task = KINDS[kind](world)
    images = torch.randint(256, (BATCH, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    source = Source(ArrayImages(images, torch.arange(BATCH) % CLASSES), train_transform("shift", 8), (0.5,), (0.25,))
    directory.mkdir(exist_ok=True)
    with RunLog(directory / "log", directory / "events") as log:
        Loop(Exactly(task), source, SCHEDULE, directory / "last", log, world, lambda _: None).run()
    average = [task.average] if kind == "retraining" else []
    parts = [task.network, *average, *([task.step.teacher.matching] if kind == "searching" else [])]
    return [{name: tensor.clone() for name, tensor in part.state_dict().items()} for part in parts]


def explained(kind):
    """The length of the sums of all steps."""
    space = MBCONV if kind == "searching" else GATED
    return STEPS * terms(space, [space.largest], torch.empty(BATCH, 1, 8, 8), backward=True)


def furthest(found, expected, kind):
    """The largest distance of two trainings' tensors, 1 being what rounding explains."""
    return max(
        float((ours[name].double() - tensor.double()).abs().max())
        / bound(explained(kind), float(tensor.abs().max()) + 1e-30)
        for ours, theirs in zip(found, expected, strict=True)
        for name, tensor in theirs.items()
    )


@pytest.fixture(scope="module")
def by_one(tmp_path_factory):
    directory = tmp_path_factory.mktemp("one")
    return {kind: trained(kind, World.alone(), directory) for kind in KINDS}


@pytest.mark.parametrize(
    ("size", "kinds"),
    [
        (2, ["supernet"]),
        (3, ["retraining", "searching"]),
        (4, ["alone"]),
        *(pytest.param(size, list(KINDS), marks=pytest.mark.slow) for size in (2, 3, 4)),
    ],
)
def test_several_processes_train_as_one(ranks, by_one, tmp_path, size, kinds):
    def one_of_them():
        with joined("cpu") as world:
            return {kind: trained(kind, world, tmp_path / f"rank {world.rank}") for kind in kinds}

    for found in ranks(size, one_of_them):
        far = {kind: furthest(found[kind], by_one[kind], kind) for kind in kinds}
        assert max(far.values()) < 1, far


def test_norms_of_each_process_are_another_recipe(ranks, by_one, tmp_path):
    """Without a reduction at each norm; so the test above can fail."""

    def one_of_two():
        with joined("cpu", DefaultSettings(sync_norms=False)) as world, counted() as reductions:
            return trained("alone", world, tmp_path / f"rank {world.rank}"), len(reductions)

    for found, reductions in ranks(2, one_of_two):
        assert furthest(found, by_one["alone"], "alone") > 10
        assert reductions == STEPS


def test_each_norm_has_one_reduction_each_way_of_a_few_numbers(ranks, tmp_path):
    def one_of_two():
        with joined("cpu") as world, counted() as reductions:
            trained("alone", world, tmp_path / f"rank {world.rank}")
            return reductions

    widths = [op.out for _, block in GATED.blocks(GATED.largest) for op in block.ops()]
    forwards, backwards = (sorted(numbers) for numbers in ([2 * (2 * w + 1) for w in widths], [2 * w for w in widths]))
    for sizes in ranks(2, one_of_two):
        step = sizes[: len(sizes) // STEPS]
        assert sorted(step[: len(widths)]) == forwards
        assert sorted(step[len(widths) : -1]) == backwards
        assert len(sizes) == STEPS * (2 * len(widths) + 1)


@contextmanager
def counted():
    """The numbers in each reduction."""
    sizes, real = [], dist.all_reduce
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "all_reduce", lambda tensor: (sizes.append(tensor.numel()), real(tensor)))
        yield sizes
