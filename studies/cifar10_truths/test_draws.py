from studies.cifar10_truths.draws import EACH, STEPS, Fair, WidestFirst
from studies.cifar10_truths.run import space_of


def test_the_widest_network_comes_first_and_all_widths_last() -> None:
    space = space_of("channel_resnet")
    drawn = WidestFirst(space, 0, space.all_options)
    keys = [space.encode(drawn.arch(draw)) for draw in range(0, STEPS * EACH, 7)]
    digits = [
        {digit for key in part for digit in key} for part in (keys[:100], keys[150:250], keys[300:400], keys[450:])
    ]
    assert digits == [set("4"), set("34"), set("234"), set("1234")]
    assert drawn.arch(9000) == drawn.arch(9000) != drawn.arch(9001)


def test_the_archs_of_a_fair_step_have_each_option_once() -> None:
    space = space_of("macro")
    drawn = Fair(space, 0, space.all_options)
    steps = [[drawn.arch(draw) for draw in range(first, first + 3)] for first in range(0, 60, 3)]
    assert all(sorted(at_slot) == [0, 1, 2] for archs in steps for at_slot in zip(*archs, strict=True))
    assert len({tuple(archs) for archs in steps}) == len(steps)
