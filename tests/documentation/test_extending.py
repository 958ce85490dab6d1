"""Every example of docs/extending.md runs, as an outsider would run it, and is as short as the page says."""

import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch

from fewshot_nas.__main__ import main
from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import load_config
from fewshot_nas.models.checkpoint import load_supernet, save_supernet
from fewshot_nas.models.subnet import inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.run import Phase, phase_directory, run_files
from fewshot_nas.space.pool import Entry, all_archs, read_arch_file, read_pool, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from tests.data.test_cifar import put

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
FILES = {code.splitlines()[0].removeprefix("# "): code for kind, code in FENCED.findall(PAGE) if kind}
PX8 = SPACES["px8"]


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def outside(workshop, monkeypatch):
    """A directory with the page's files, whose modules can be imported."""
    for name, code in FILES.items():
        (workshop / name).write_text(code)
    monkeypatch.syspath_prepend(workshop)
    truth = {f"arch{number}": Entry(90 + number, arch) for number, arch in enumerate(_pool(workshop).values(), 1)}
    write_arch_file(workshop / "json_file/digits/gt_arch30.json", PX8, dict(list(truth.items())[:6]))
    yield workshop
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def _pool(workshop):
    (part,) = read_pool(workshop / "json_file" / "json8", PX8)
    return part


@pytest.fixture
def follow(outside, small):
    """Gives the command lines of a section, with settings that make them a matter of seconds."""

    def run(title, *more):
        for line in "".join(code for kind, code in FENCED.findall(section(title)) if not kind).splitlines():
            _, _, command, *arguments = shlex.split(line)
            settings = [*small, *more] if command.startswith("fewshot_nas.train") else []
            assert main([command.removeprefix("fewshot_nas."), *arguments, *settings]) == 0

    return run


def test_the_table_tells_the_files_and_their_lines():
    rows = re.findall(r"\| \[(.+?)\]\(#(.+?)\) \| `(.+?)` \| (\d+) \|", PAGE)
    assert [name for *_, name, _ in rows] == list(FILES)
    for title, anchor, name, lines in rows:
        assert FILES[name] in section(title.capitalize())
        assert anchor == title.replace(" ", "-")
        assert int(lines) == _lines_of_code(FILES[name]), name


def _lines_of_code(text):
    """Lines without comments, docstrings and empty ones."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    skipped = set()
    for node in ast.walk(ast.parse(text) if "yml" not in text.splitlines()[0] else ast.Module([], [])):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            skipped |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(number not in skipped and bool(line.strip()) and line[0] != "#" for number, line in lines)


def _flowers(place):
    place.mkdir()
    sizes = {"train": 40, "valid": 20, "test": 20}
    parts = {
        name: (torch.randint(0, 256, (size, 1, 8, 8), dtype=torch.uint8), torch.arange(size) % 5)
        for name, size in sizes.items()
    }
    torch.save(parts, place / "flowers.pt")


def test_own_data_and_own_split(follow, outside):
    _flowers(outside / "data")
    follow("Data set", "space.base_widths=null")
    assert load_supernet(Path("results/flowers/supernet.pth")).num_classes == 5
    assert main(["test", "--save", "flowers", "--arch", PX8.encode(PX8.smallest)]) == 0
    follow("Split", "space.base_widths=null")
    split = load_supernet(phase_directory("flowers", Phase("owncorner", "1")).chosen).split
    (place,) = (at for at, place in enumerate(PX8.places) if (place.stage, place.when) == (2, (2, 1)))
    widest, shorter, narrower = (
        PX8.arch((1, 1, out, 1), [(1,) * 2, (1,) * 2, (1,) * depth, (1,) * 2])
        for out, depth in ((1, 8), (1, 7), (2, 8))
    )
    assert [split.rules[place].group(arch) for arch in (widest, shorter, narrower)] == [1, 0, 0]


def test_own_space(follow, outside):
    put(outside / "data")
    follow("Space", "space.base_widths=[4,6,8]")
    assert load_supernet(Path("results/slim/supernet.pth")).space.depths == ((1, 2), (1, 3), (1, 2))


def test_own_block(follow, outside):
    """A block that no preset has goes through every command, and a split by its choice changes no function."""
    follow("Block", "space.base_widths=null")
    one, split = (load_supernet(Path(f"results/wide/{phase}supernet.pth")) for phase in ("", "choice0block1/"))
    assert split.split.counts() == [9, 9]
    space = one.space
    archs, images = list(all_archs(space)), torch.randn(2, 1, 8, 8)
    child = inherit(one, split.split)
    assert all(torch.equal(one(images, arch), child(images, arch)) for arch in archs)
    assert sum(op.groups > 1 for _, block in space.blocks(space.decode("1020")) for op in block.main) == 2
    assert Path("results/wide/searches/small/found.json").exists()


def test_own_sampler(follow, outside):
    import deep

    archs = [deep.DeepArchs(PX8, 0, PX8.pool_options).arch(draw) for draw in range(200)]
    assert {arch[2] for arch in archs} == {7, 8}  # the depth of the third stage
    follow("Sampler")
    assert load_config(Path("results/deep/config.yml")).training.sampling == "deep:DeepArchs"


def test_own_loss(follow, outside, monkeypatch):
    import ordered

    calls, backward = [], ordered.Ordered.backward
    monkeypatch.setattr(ordered.Ordered, "backward", lambda self, answers: calls.append(1) or backward(self, answers))
    follow("Loss")
    assert calls


def test_own_loss_also_differentiates_the_comparison(outside):
    import ordered

    class Answer:
        def __init__(self, value):
            self.value = torch.tensor(value, requires_grad=True)

        def loss(self):
            return self.value

    answers = [Answer(2.0), Answer(1.0), Answer(3.0)]
    assert ordered.Ordered().backward(iter(answers)).tolist() == [2, 1, 3]
    assert [answer.value.grad.item() for answer in answers] == [2, 0, 1]


def _untrained():
    torch.manual_seed(0)
    return Supernet(by_width(PX8, 1), num_classes=10)


@pytest.mark.parametrize(("name", "said"), [("margin", "Interval(value="), ("threads", "Accuracy(top1=")])
def test_own_score_and_own_executor(outside, capsys, name, said):
    save_supernet(outside / "results" / "digits" / "supernet.pth", _untrained())
    runpy.run_path(f"{name}.py")
    assert said in capsys.readouterr().out


def test_own_proxy(follow, outside, capsys):
    import widths

    arch = next(iter(_pool(outside).values()))
    assert widths.total_width(PX8, arch) == sum(block.out for _, block in PX8.blocks(arch))
    save_supernet(outside / "results" / "digits" / "supernet.pth", _untrained(), {"epoch": 0})
    few = ["--images=20", "--calibration_images=16"]
    assert main(["test", "--save=digits", "--json_part=1", *few]) == 0
    assert main(["merge", "--save=digits", "--stage=1", "--epoch=0", "--force"]) == 0
    follow("Proxy")
    assert "widths:total_width" in [row["name"] for row in read_json(run_files("digits").ranking)["rows"]]


def test_own_truth(follow, outside, capsys):
    ops = ("none", "skip", "conv1", "conv3")
    keys = [f"{one}|{other}|{last}" for one in ops for other in ops for last in ops]
    macs = {key: 10 + 5 * key.count("conv1") + 9 * key.count("conv3") for key in keys}
    entry = {key: {"macs": macs[key], "params": macs[key] ** 2} for key in keys}
    table = {key: {**entry[key], "accuracy": [macs[key] + at % 7, macs[key] + at % 5]} for at, key in enumerate(keys)}
    write_json(outside / "cells.json", table)
    (outside / "scores.csv").write_text("key,score\n" + "".join(f"{key},{key.count('conv3')}\n" for key in keys))
    follow("Truth")
    assert re.search(r"\nscore +\+0\.\d", capsys.readouterr().out)


@pytest.mark.parametrize("setting", ["data.name", "training.sampling", "training.loss"])
@pytest.mark.parametrize("name", ["nowhere:flowers", "garden:trees", "flowers"])
def test_a_part_that_is_not_there_is_refused(outside, small, setting, name):
    with pytest.raises(InputError, match=f"{setting} is '?{name}'?, (expected one of .*module:name|which cannot be)"):
        main(["train_supernet", "--save", "wrong", *small, f"{setting}={name}"])


def test_archs_of_the_truth_are_read_back(outside):
    assert len(read_arch_file(outside / "json_file/digits/gt_arch30.json", PX8)) == 6
