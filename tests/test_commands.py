"""Lines that are printed for somebody to paste are lines that the commands take."""

import ast
import importlib
import math
import re
import shlex
from pathlib import Path

import pytest

import fewshot_nas
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import COMMANDS, command_line, is_outside, named_part

PACKAGE = Path(fewshot_nas.__file__).parent
SOURCES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def calls():
    """All calls of `command_line` and `following`: the file, the command, its words, and the names of its options."""
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in ("command_line", "following"):
                command = node.args[name == "following"]
                options = [keyword.arg for keyword in node.keywords if keyword.arg]
                options += ["save", "config"] * (name == "following")
                words = [each.value for each in node.args[1:] if isinstance(each, ast.Constant) and each is not command]
                if isinstance(command, ast.Constant):
                    yield pytest.param(command.value, words, options, id=f"{path.stem}:{node.lineno}")


def parser(command):
    return importlib.import_module(f"fewshot_nas.{command}")._parser()


def sample(action):
    """A value that an option takes."""
    return next(iter(action.choices)) if action.choices else 1 if action.type in (int, None) else "file"


@pytest.mark.parametrize(("command", "words", "options"), [*calls()])
def test_a_hint_names_a_command_and_its_options(command, words, options):
    assert command in COMMANDS
    known = {name.lstrip("-"): action for action in parser(command)._actions for name in action.option_strings}
    assert set(options) <= known.keys()
    line = command_line(command, *words, **{name: sample(known[name]) for name in options})
    python, minus_m, module, *arguments = shlex.split(line)
    assert (python, minus_m, module) == ("python", "-m", f"fewshot_nas.{command}")
    parser(command).parse_intermixed_args(arguments)  # exits where a required option is missing


def texts(tree):
    """The strings of a module that are not docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, owners)}
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [text for text in constants if isinstance(text, str) and text not in docs]


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "commands.py"], ids=lambda path: path.stem)
def test_no_hint_is_written_in_another_way(path):
    lines = [text for text in texts(SOURCES[path]) if re.search(r"python -m fewshot_nas\.[a-z]", text)]
    assert lines in ([], ["Written by <code>python -m fewshot_nas.report</code>. Everything is in this one file."])


def test_words_are_quoted_for_the_shell():
    line = command_line("make_pool", "space.depths=[[1,2]]", out="my pool", check=None)
    assert shlex.split(line)[2:] == ["fewshot_nas.make_pool", "--out=my pool", "space.depths=[[1,2]]"]


def test_an_unknown_option_is_explained():
    for words, said in [
        (["--training.epochs=2"], "settings are given without dashes: training.epochs=2"),
        (["--training.epochs", "2"], "settings are given without dashes: training.epochs=VALUE"),
        (["--sed=1"], "did you mean --seed?"),
        (["--what"], "`python -m fewshot_nas.train_supernet --help` lists the options"),
    ]:
        with pytest.raises(InputError, match=re.escape(said)):
            parser("train_supernet").parse_intermixed_args(words)


# ---- Parts of somebody else's are found by `module:name`; a mistake in the name is said -----------------------------


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
