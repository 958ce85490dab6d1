"""The codec: every arch survives it, and every other string is refused at the right character."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.errors import InputError
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import random_arch
from fewshot_nas.space.search_space import SPACES

PX8 = SPACES["px8"]

CODE = "1448531313231300123222220032124212323242524525756555"

digit = st.integers(1, PX8.digits)
archs = st.builds(
    Arch,
    outs=st.tuples(digit, digit, digit, digit),
    mids=st.tuples(
        *(
            st.lists(digit, min_size=low, max_size=high).map(tuple)
            for low, high in zip(*zip(*PX8.depths, strict=True), strict=True)
        )
    ),
)


@given(archs)
def test_decode_inverts_encode(arch):
    assert PX8.decode(PX8.encode(arch)) == arch


@given(archs)
def test_code_has_its_documented_layout(arch):
    code = PX8.encode(arch)
    assert len(code) == PX8.code_length
    assert code[0] == "1"
    assert code[1:5] == "".join(map(str, arch.depths))
    assert code[5] == code[7] == str(arch.outs[0])
    assert code[6:16:2] == "".join(map(str, arch.mids[0])).ljust(5, "0")
    assert code[26:42:2] == "".join(map(str, arch.mids[2])).ljust(8, "0")
    assert code[43] == str(arch.outs[3])


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
    with pytest.raises(InputError):
        PX8.check(Arch(outs, mids))


def test_archs_are_hashable_and_frozen():
    arch = PX8.decode(CODE)
    assert {arch: 1}[PX8.decode(CODE)] == 1
    with pytest.raises(AttributeError):
        arch.outs = (1, 1, 1, 1)


@given(st.integers(0, 2**32), st.sampled_from(sorted(SPACES)))
def test_the_code_of_any_space_comes_back(seed, name):
    space, arch = SPACES[name], random_arch(SPACES[name], random.Random(seed))
    code = space.encode(arch)
    assert len(code) == space.code_length
    assert space.decode(code) == space.decode(code[1:]) == arch


def test_a_code_of_another_space_is_refused():
    with pytest.raises(InputError, match="has 52 characters, expected 59"):
        SPACES["cifar"].decode(CODE)
    with pytest.raises(InputError, match="an arch of this space has 3 stages, got 4"):
        SPACES["cifar"].encode(PX8.decode(CODE))


@pytest.mark.parametrize(
    ("outs", "mids"), [((), ()), ((1,), ((1,), (1,))), ((0,), ((1,),)), ((1,), ((),)), ((1,), ((0,),))]
)
def test_an_impossible_arch_cannot_be_made(outs, mids):
    with pytest.raises(InputError):
        Arch(outs, mids)
