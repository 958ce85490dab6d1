"""Names in one buffer are the names that were put in."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.data.images import Names

TEXTS = st.lists(st.text(max_size=8), max_size=20)


@given(TEXTS)
def test_they_come_out_as_they_went_in(texts):
    names = Names.of(texts)
    assert list(names) == texts
    assert [names[index - len(texts)] for index in range(len(texts))] == texts


@given(TEXTS.filter(len), st.data())
def test_a_selection_keeps_the_order_asked_for(texts, data):
    indices = data.draw(st.lists(st.integers(0, len(texts) - 1)))
    assert list(Names.of(texts).select(indices)) == [texts[index] for index in indices]


def test_bytes_that_are_no_text_survive():
    assert list(Names.of(["a\udcff.jpg"])) == ["a\udcff.jpg"]


def test_there_is_no_name_beyond_the_last():
    with pytest.raises(IndexError):
        Names.of(["a"])[1]


def test_a_million_names_are_two_objects_for_a_worker():
    names = Names.of(f"train/n{index % 1000:08}/{index}.JPEG" for index in range(10_000))
    assert len(pickle.dumps(names)) < 40 * len(names)
    assert {type(value) for value in vars(names).values()} == {bytes, type(names.ends)}
