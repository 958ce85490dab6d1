"""The codec: every arch survives it, and every other string is refused at the right character."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from tests.kinds import ALL

PX8 = SPACES["px8"]

CODE = "1448531313231300123222220032124212323242524525756555"

digit = st.integers(1, PX8.digits)
archs = st.builds(
    PX8.arch,
    st.tuples(digit, digit, digit, digit),
    st.tuples(*(st.lists(digit, min_size=least, max_size=most) for least, most in PX8.depths)),
)


@given(archs)
def test_decode_inverts_encode(arch):
    assert PX8.decode(PX8.encode(arch)) == arch


@given(archs)
def test_code_has_its_documented_layout(arch):
    code, digits = PX8.encode(arch), "".join(map(str, arch))
    assert len(code) == PX8.code_length
    assert code[0] == "1"
    assert code[1:5] == digits[:4]
    assert code[5] == code[7] == digits[4]
    assert code[6:16:2] == digits[8:13]
    assert code[26:42:2] == digits[18:26]
    assert code[43] == digits[7]


@given(archs)
def test_leading_one_may_be_missing(arch):
    assert PX8.decode(PX8.encode(arch)[1:]) == arch


@given(archs, st.integers(0, PX8.code_length - 1), st.sampled_from("0123456789 aé"))
def test_one_changed_character_is_refused_or_another_arch(arch, position, character):
    code = PX8.encode(arch)
    changed = code[:position] + character + code[position + 1 :]
    try:
        other = PX8.decode(changed)
    except InputError:
        return
    assert PX8.encode(other) == changed
    assert (other == arch) == (changed == code)


def change(position, text):
    """CODE with `text` at a position counted from 1, as error messages count."""
    return CODE[: position - 1] + text + CODE[position - 1 + len(text) :]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "has 0 characters, expected 52"),
        (CODE[:-1], "has 51 characters, expected 52"),
        (CODE + "0", "has 53 characters, expected 52"),
        (change(1, "2"), "character 1 is '2', but a code begins with '1'"),
        (change(2, "1"), "character 2 is '1', but stage 1 has 2..5 blocks"),
        (change(4, "9"), "character 4 is '9', but stage 3 has 2..8 blocks"),
        (change(5, "0"), "character 5 is '0', but stage 4 has 2..5 blocks"),
        (change(6, "8"), "character 6 is '8', but the stem's digit is in 1..7"),
        (change(6, "2"), "character 8 is '3', but every out digit of stage 1 is '2', as the stem's"),
        (change(9, "0"), "character 9 is '0', but digits of block 2 of stage 1 are in 1..7"),
        (change(9, "8"), "character 9 is '8', but digits of block 2 of stage 1 are in 1..7"),
        (change(15, "1"), "character 15 is '1', but block 5 of stage 1 is absent (depth 4) and is written '00'"),
        (change(20, "1"), "character 20 is '1', but every out digit of stage 2 is '2', as its first block's"),
        (change(4, "7"), "character 41 is '5', but block 8 of stage 3 is absent (depth 7)"),
        (change(16, "é"), "character 16 is 'é', but block 5 of stage 1 is absent"),
        ("X" + CODE[2:], "character 1 is 'X', but stage 1 has 2..5 blocks"),
    ],
)
def test_refusal_names_the_character(code, message):
    with pytest.raises(InputError, match=f"^code {code!r}") as caught:
        PX8.decode(code)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("outs", "mids"),
    [
        ((1, 1, 1), ((1, 1),) * 3),
        ((1, 1, 1, 8), ((1, 1),) * 4),
        ((1, 1, 1, 1), ((1, 0), (1, 1), (1, 1), (1, 1))),
        ((1, 1, 1, 1), ((1,), (1, 1), (1, 1), (1, 1))),
        ((1, 1, 1, 1), ((1,) * 6, (1, 1), (1, 1), (1, 1))),
    ],
)
def test_an_arch_of_another_shape_is_refused(outs, mids):
    with pytest.raises((InputError, ValueError)):
        PX8.arch(outs, mids)


def test_an_arch_of_digits_is_that_of_their_code():
    mids = (1, 3, 3, 2), (3, 3, 2, 2), (2, 3), (2, 2, 1, 2)
    code = PX8.encode(PX8.arch((3, 1, 2, 5), mids))
    assert code == "144243" + "1333332300" + "3131212100" + "2232" + "0" * 12 + "2525152500"
    assert PX8.decode(code) == (4, 4, 2, 4, 3, 1, 2, 5, 1, 3, 3, 2, 0, 3, 3, 2, 2, 0, 2, 3, *[0] * 6, 2, 2, 1, 2, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 6}, "slot 0 depth is 6, expected one of 2, 3, 4, 5"),
        ({7: 8}, "slot 3 out is 8, expected one of 1, 2"),
        ({8: 0}, "slot 0 mid 0 is 0, expected one of 1, 2"),
        ({12: 1}, "slot 0 mid 4 is 1, expected one of 0"),  # the arch has four blocks there
    ],
)
def test_the_slot_that_is_wrong_is_named(change, message):
    arch = list(PX8.decode(CODE))
    for slot, value in change.items():
        arch[slot] = value
    with pytest.raises(InputError, match=message):
        PX8.encode(tuple(arch))


@given(st.integers(0, 2**32), st.sampled_from((*SPACES.values(), *ALL)))
def test_the_code_of_any_space_comes_back(seed, space):
    arch = random_arch(space, random.Random(seed))
    code = space.encode(arch)
    assert len(code) == space.code_length
    assert space.decode(code) == arch
    assert len(arch) == len(space.slots)
    if getattr(space, "codes", "") == "track1" and not code.startswith("11"):
        assert space.decode(code[1:]) == arch


@given(st.integers(0, 2**32), st.sampled_from(ALL[3:]), st.data())
def test_one_changed_character_of_any_space_is_refused_or_another_arch(seed, space, data):
    code = space.encode(random_arch(space, random.Random(seed)))
    position = data.draw(st.integers(0, len(code) - 1))
    changed = code[:position] + data.draw(st.sampled_from("0123456789 aé²")) + code[position + 1 :]
    try:
        other = space.decode(changed)
    except InputError:
        return
    assert space.encode(other) == changed


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("cifar", CODE, "has 52 characters, expected 59"),
        ("channel_resnet", "443221", "has 6 characters, expected 7"),
        ("channel_resnet", "4432210", "character 7 is '0', expected a digit in 1..4"),
        ("channel_mobilenet", "44322145", "is not one of space channel_mobilenet, expected 7 digits"),
        ("channel_mobilenet", "4432315", "character 7 is '5', but slot 2 out has the options 1, 2, 3, 4"),
        ("macro", "02012300", "character 6 is '3', but slot 2 block 0 has the options 0, 1, 2"),
        ("macro", "0201210", "is not one of space macro, expected 8 digits"),
        ("macro", "0201210²", "is not one of space macro, expected 8 digits"),
    ],
)
def test_a_code_of_another_space_is_refused(name, code, message):
    with pytest.raises(InputError, match=code) as caught:
        SPACES[name].decode(code)
    assert message in str(caught.value)


def test_an_arch_of_another_space_is_refused():
    with pytest.raises(InputError, match="an arch of space cifar has 33 choices, got 31"):
        SPACES["cifar"].encode(PX8.decode(CODE))


def test_codes_of_widths_have_the_widest_last_and_the_order_of_the_network():
    space = SPACES["channel_resnet"]
    widths = [[op.out for op in block.main] for _, block in space.blocks(space.decode("4432214"))]
    assert widths == [[256], [256, 256], [192, 256], [256, 256], [128, 256], [512, 256]]
