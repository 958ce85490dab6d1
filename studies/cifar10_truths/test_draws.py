from studies.cifar10_truths.draws import EACH, STEPS, WidestFirst
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
