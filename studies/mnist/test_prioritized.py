"""Which nets stand on a supernet's board, which of them teaches whom, and on what they are measured."""

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES
from studies.mnist import prioritized as study
from studies.mnist.prioritized import BUCKETS, Prioritized, TeacherBoard, held_out

PX8 = SPACES["px8"]

pytestmark = pytest.mark.numeric

SPACE, CLASSES, OPTIONS = PX8, 10, PX8.pool_options
POOL = tuple(make_pool(PX8, seed=0, size=40).values())


def macs(arch):
    return SPACE.cost(arch, num_classes=CLASSES).macs


def bucket(arch):
    low, high = macs(PX8.extreme(OPTIONS, largest=False)), macs(PX8.largest)
    return min(int(BUCKETS * (macs(arch) - low) / (high - low)), BUCKETS - 1)


def deep(digit):
    """The deepest net with one digit everywhere."""
    return PX8.arch((digit,) * 4, [(digit,) * most for _, most in PX8.depths])


BIG, MIDDLE, TWIN, SMALL = (
    deep(2),
    deep(3),
    PX8.arch((3,) * 4, ((3,) * 5, (3,) * 5, (3,) * 8, (3, 3, 3, 4))),
    PX8.smallest,
)


def make(**accuracies):
    """A board with accuracies of `largest`, `big`, `middle`."""
    board = TeacherBoard(SPACE, CLASSES, OPTIONS)
    archs = {"largest": PX8.largest, "big": BIG, "middle": MIDDLE}
    for name, accuracy in accuracies.items():
        board.offer(archs[name], accuracy)
    return board


def shown(board):
    return [PX8.decode(entry.candidate) for entry in board.entries]


@pytest.mark.parametrize(
    ("accuracies", "student", "expected"),
    [
        ({}, SMALL, PX8.largest),  # nobody else is known
        ({"largest": 60.0, "big": 70.0}, SMALL, BIG),
        ({"largest": 60.0, "big": 60.0}, SMALL, PX8.largest),  # as accurate as the largest
        ({"largest": 60.0, "big": 50.0}, SMALL, PX8.largest),
        ({"largest": 60.0, "big": 70.0, "middle": 80.0}, SMALL, MIDDLE),  # the most accurate, not the nearest
        ({"largest": 60.0, "big": 80.0, "middle": 70.0}, SMALL, BIG),
        ({"largest": 60.0, "big": 70.0, "middle": 70.0}, SMALL, MIDDLE),  # of equals the cheaper
        ({"largest": 60.0, "big": 70.0, "middle": 80.0}, MIDDLE, BIG),  # nobody teaches itself
        ({"largest": 60.0, "big": 70.0, "middle": 80.0}, BIG, PX8.largest),  # nobody teaches a dearer net
        ({"largest": 60.0, "big": 70.0}, PX8.largest, PX8.largest),
    ],
)
def test_who_teaches(accuracies, student, expected):
    assert make(**accuracies).teacher(student) == expected


def test_a_span_of_macs_keeps_its_most_accurate_net():
    assert bucket(TWIN) == bucket(MIDDLE) != bucket(BIG)
    board = make(middle=50.0, big=40.0)
    board.offer(TWIN, 50.0)
    assert shown(board) == [PX8.largest, MIDDLE, BIG]
    board.offer(TWIN, 50.1)
    assert shown(board) == [PX8.largest, TWIN, BIG]


def facts(board):
    return [(entry.candidate, entry.accuracy, entry.cost) for entry in board.entries]


@pytest.fixture
def prioritized(tiny, batch):
    """Makes the teachers of `supernet` runs; the held images are the batch."""

    def make(world=None):
        images = (batch[0] * 40 + 128).clamp(0, 255).to(torch.uint8)
        held = Inputs(images[:0], 1, images, batch[1], len(images), (0.5,), (0.2,), torch.device("cpu"))
        return Prioritized(TeacherBoard(tiny, 5, OPTIONS), held, world or World.alone())

    return make


def by_hand(network, arch, held):
    ((images, labels),) = held.scoring_batches()
    return 100 * (network(images, arch).argmax(1) == labels).double().mean().item()


def test_a_review_scores_all_with_the_weights_of_now(supernet, prioritized):
    """The board's nets as well as newcomers, on all held images."""
    network, given = supernet(), prioritized()
    given.review(network, [MIDDLE])
    torch.nn.init.normal_(network.stored((len(PX8.places), 0)).linear.weight)
    given.review(network, [BIG])
    accuracies = {PX8.decode(entry.candidate): entry.accuracy for entry in given.board.entries}
    expected = {arch: by_hand(network, arch, given.held) for arch in (PX8.largest, MIDDLE, BIG)}
    assert accuracies == pytest.approx(expected)


@pytest.mark.dist
def test_ranks_keep_the_board_of_one(supernet, prioritized, ranks, monkeypatch):
    """Each net is scored on one rank only."""
    real = Prioritized._top1

    def one_of_two():
        scored = []
        monkeypatch.setattr(Prioritized, "_top1", lambda self, net, arch: scored.append(arch) or real(self, net, arch))
        with joined("cpu") as world:
            given = prioritized(world)
            given.review(supernet(), POOL[:6])
            return facts(given.board), scored

    (board, mine), (same, others) = ranks(2, one_of_two)
    alone = prioritized()
    alone.review(supernet(), POOL[:6])
    assert board == same == facts(alone.board)
    assert sorted(map(PX8.encode, [*mine, *others])) == sorted(map(PX8.encode, {PX8.largest, *POOL[:6]}))


def numbered(count, classes=5):
    """Images that differ, with their labels in turn."""
    pixels = torch.arange(count, dtype=torch.int32).view(torch.uint8).view(count, 1, 2, 2)
    return ArrayImages(pixels, torch.arange(count) % classes)


@pytest.mark.parametrize(("count", "expected"), [(4000, 256), (400, 50), (16, 2), (9, 2)])
def test_some_images_are_held_out_and_the_others_stay(count, expected):
    left, held = held_out(numbered(count))
    numbers = [images.array.reshape(-1, 4).contiguous().view(torch.int32).flatten().tolist() for images in (held, left)]
    assert len(held) == expected
    assert sorted([*numbers[0], *numbers[1]]) == list(range(count))
    assert torch.equal(held.labels, torch.tensor(numbers[0]) % 5)


def test_a_continued_training_has_its_board(workshop, small, monkeypatch):
    """Interrupted after the first of two epochs, it ends with the weights and the board of an unbroken one."""
    monkeypatch.setattr(study, "REVIEW_STEPS", 2)
    settings = [*small, "training.extremes=space", "data.train_images=40", "training.epochs=2"]
    study.main(["--save=unbroken", *settings])
    real, measured = study.RememberingTask.end_epoch, []

    def end_epoch(self, epoch):
        if epoch and not measured:
            measured.append(epoch)
            raise KeyboardInterrupt
        return real(self, epoch)

    monkeypatch.setattr(study.RememberingTask, "end_epoch", end_epoch)
    with pytest.raises(KeyboardInterrupt):
        study.main(["--save=broken", *settings])
    study.main(["--save=broken", *settings])
    unbroken, broken = (torch.load(workshop / "results" / name / "last.pth") for name in ("unbroken", "broken"))
    assert all(torch.equal(broken["model"][key], tensor) for key, tensor in unbroken["model"].items())
    boards = [[each["entries"] for each in content["board"]["boards"]] for content in (unbroken, broken)]
    assert str(boards[0]) == str(boards[1])
    assert sum(map(len, boards[0])) > 1


def test_ends_that_are_drawn_are_refused():
    with pytest.raises(InputError, match=r"training.extremes is outs, expected space"):
        study.main(["--save=one"])
