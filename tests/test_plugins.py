"""Parts of somebody else's are found by `module:name`; a mistake in the name is said."""

import math

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.plugins import is_outside, named_part


def test_a_name_of_ours_comes_first():
    assert named_part("sqrt", {"sqrt": abs}, "x") is abs


def test_a_part_outside_is_imported():
    assert named_part("os.path:join", {}, "x")("a", "b") == "a/b"
    assert named_part("math:sqrt", {"sqrt": abs}, "x") is math.sqrt


@pytest.mark.parametrize("name", ["", "sqrt", ":sqrt", "math:", "math:a.b", "a b:c", "1:c"])
def test_other_names_are_not_of_that_form(name):
    assert not is_outside(name)
    with pytest.raises(InputError, match=r"data.name is '.*', expected one of digits, or module:name for your own"):
        named_part(name, {"digits": abs}, "data.name")


@pytest.mark.parametrize("name", ["no_such_module:part", "math:no_such_part", "math.deeper:part"])
def test_what_cannot_be_imported_is_said(name):
    with pytest.raises(InputError, match=f"--proxy is '{name}', which cannot be imported"):
        named_part(name, {}, "--proxy")
