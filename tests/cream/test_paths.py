import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.paths import MODELS, as_published, format_path, parse_path

EXAMPLE = "[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]"
STAGE = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(tuple)


@given(st.tuples(STAGE, STAGE, STAGE, STAGE, STAGE))
def test_what_is_written_is_read_back(path):
    assert parse_path(format_path(path)) == path


def test_the_form_of_the_read_me():
    assert format_path(parse_path(EXAMPLE)) == EXAMPLE
    assert parse_path(EXAMPLE.replace(",", ", ")) == ((3,), (3, 3), (3, 1, 3), (3, 3, 3, 3), (3, 3, 3))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("3,3,3", "expected lists of indices"),
        ("[0,3,3,3,3,3,0]", "expected lists of indices"),
        ("[[0],[3],[3],[3],[3],[0]]", "expected 5 stages between"),
        ("[[1],[3],[3],[3],[3],[3],[0]]", "expected 5 stages between"),
        ("[[0],[3],[3,6],[3],[3],[3],[0]]", r"stage 2 of the path is \[3, 6\], expected at least one index in 0..5"),
        ("[[0],[3],[],[3],[3],[3],[0]]", r"stage 2 of the path is \[\]"),
        ("[[0],[3],[3],[3],[true],[3],[0]]", r"stage 4 of the path is \[True\]"),
        ("[[0],[3],[3],[3],[-1],[3],[0]]", r"stage 4 of the path is \[-1\]"),
        ("[[0],[3],[3],[3],[[1]],[3],[0]]", "stage 4 of the path"),
    ],
)
def test_what_is_no_path_is_refused(text, complaint):
    with pytest.raises(InputError, match=complaint):
        parse_path(text)


def test_published_paths_keep_the_template_of_single_blocks():
    assert as_published(((5,),) * 5) == ((0,), (2,), (1,), (1,), (3,))
    assert as_published(((5, 5),) * 5) == ((5, 5),) * 5


def test_published_models_have_their_sizes_of_images():
    assert {name: model.resolution for name, model in MODELS.items()} == {
        14: 64,
        43: 96,
        114: 160,
        287: 224,
        481: 224,
        604: 224,
    }
