"""Checks of pages that show command lines.

Shell is not read but run, in a directory where every program is a stub that notes down its words;
then each command's own parser and settings judge them.
"""

import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fewshot_nas.__main__ import COMMANDS
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config, load_config
from fewshot_nas.cream.config import CheckpointConfig, RetrainConfig, SearchConfig
from fewshot_nas.records.files import write_text

ROOT = Path(__file__).parents[2]
SLURM = ("scripts/slurm_train.sh", "scripts/slurm_evaluate.sh", "scripts/slurm_ray.sh")
SETTINGS = {
    "cream.search": SearchConfig,
    "cream.make_pool": SearchConfig,
    "cream.retrain": RetrainConfig,
    "cream.test": CheckpointConfig,
}

STUBS = r"""
note() { local IFS=$'\t'; printf '%s\n' "$*" >> "$NOTES"; }
python() { note python "$@"; }
fewshot-nas() { note fewshot-nas "$@"; }
torchrun() { note torchrun "$@"; }
sbatch() { note sbatch "$@"; echo 17; }
srun() { note srun "$@"; while [[ $1 == --* ]]; do shift; done; "$@"; }
ray() { note ray "$@"; }
kill() { wait; }
scontrol() { printf 'node%s\n' 1 2; }
export -f note python fewshot-nas torchrun sbatch srun ray kill scontrol
"""
JOB = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_GPUS_ON_NODE": "8"}
JOB |= {"SLURM_CPUS_ON_NODE": "64", "SLURM_CPUS_PER_TASK": "64"}
# Options of sbatch that we use; it is not there to be asked.
SBATCH = {"array", "cpus-per-task", "dependency", "gpus-per-node", "job-name", "nodes", "ntasks-per-node", "output"}
SBATCH |= {"parsable", "partition", "requeue", "time", "wrap"}


@pytest.fixture
def documented(workshop):
    """A directory like the project's, where examples may be written down."""
    (workshop / "configs").symlink_to(ROOT / "configs")
    return workshop


@pytest.fixture
def noted(tmp_path):
    """Runs a piece of shell with stubs for programs; returns what it would have run, as lists of words."""
    place, notes, bash = tmp_path / "shell", tmp_path / "notes", shutil.which("bash")
    for path in (*ROOT.glob("scripts/*.sh"), *ROOT.glob("studies/*/*.sh")):
        script = path.relative_to(ROOT)
        write_text(place / script, f'#!{bash}\nnote {script} "$@"\n')
        (place / script).chmod(0o755)

    def run(shell, *arguments, **environment):
        notes.write_text("")
        command = [bash, "-euo", "pipefail", "-c", STUBS + shell, "bash", *arguments]
        environment |= {"NOTES": str(notes), "PATH": str(tmp_path / "none")}
        outcome = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        assert outcome.returncode == 0, f"{shell}\n{outcome.stderr}"
        return [line.split("\t") for line in notes.read_text().splitlines()]

    return run


@pytest.fixture
def calls(noted, documented):
    """What a piece of shell runs in the end, in Slurm's jobs too: commands of ours with their arguments.

    Fails on anything that a command, torchrun or a script would refuse before it begins.
    """

    def of(words):
        match in_full(words):
            # what srun starts is noted too
            case ["python", "-m", "fewshot_nas"] | ["srun", *_] | ["ray", "start" | "stop" | "health-check", *_]:
                return []
            case ["python", "-m", module, *arguments]:
                return [understood(module.removeprefix("fewshot_nas."), arguments)]
            case ["python", *script]:
                return of(script)
            case ["torchrun", *arguments]:
                return of(["python", "-m", *started_by_torchrun(arguments)])
            case ["sbatch", *arguments]:
                return [call for shell, environment in jobs(arguments) for call in within(shell, environment)]
            case [script, *arguments] if script in SLURM:
                return within([(ROOT / script).read_text(), *arguments], {})
            case [script, *arguments]:
                content = (ROOT / script).read_text()
                unknown = [word for word in arguments if word.startswith("-") and word.split("=")[0] not in content]
                assert not unknown, f"{script} knows nothing of {unknown}"
                return []

    def within(shell, environment):
        return [call for words in noted(*shell, **environment) for call in of(words)]

    return lambda shell: within([shell], {})


def in_full(words):
    """Modules of studies and tests as the files they are, `fewshot-nas` as `python -m`; other words as they are."""
    if words[0] == "fewshot-nas":
        return ["python", "-m", f"fewshot_nas.{words[1]}", *words[2:]]
    if words[:2] == ["python", "-m"] and words[2:] and words[2].startswith(("studies.", "tests.")):
        module = words[2].replace(".", "/")
        return [f"{module}/__main__.py" if (ROOT / module).is_dir() else f"{module}.py", *words[3:]]
    return words


def understood(command, arguments):
    """The command and its arguments, if its parser and its settings take them."""
    assert command in COMMANDS, f"{command} is no command"
    options = importlib.import_module(f"fewshot_nas.{command}")._parser().parse_intermixed_args(arguments)
    if "overrides" in options:
        load(SETTINGS.get(command, Config), options.config, options.overrides)
    return command, *arguments


def started_by_torchrun(arguments):
    """The module that torchrun would start, and its arguments."""
    from torch.distributed.run import get_args_parser

    options = get_args_parser().parse_args(arguments)
    assert options.module, f"torchrun starts a file without -m: {arguments}"
    return options.training_script, *options.training_script_args


def jobs(arguments):
    """The pieces of shell that sbatch would run for these arguments, with the variables that Slurm sets."""
    count = next((place for place, word in enumerate(arguments) if not word.startswith("--")), len(arguments))
    options = dict(word[2:].split("=", 1) if "=" in word else (word[2:], "") for word in arguments[:count])
    assert options.keys() <= SBATCH, f"sbatch has no options {options.keys() - SBATCH}"
    script = [(ROOT / name).read_text() for name in arguments[count : count + 1]] or [options["wrap"]]
    first, last = map(int, options.get("array", "1-1").split("-"))
    for number in range(first, last + 1):
        task = {"SLURM_ARRAY_TASK_ID": str(number)} if "array" in options else {}
        yield [*script, *arguments[count + 1 :]], JOB | task


FENCED = re.compile(r"^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE)


class Page:
    """A page's pieces of code."""

    def __init__(self, text):
        self.text = text
        self.sentences = FENCED.sub("", text)

    def blocks(self, language=""):
        """The code blocks of a language."""
        return [block["code"] for block in FENCED.finditer(self.text) if block["language"] == language]

    def shell(self):
        """All blocks of shell in order; those without a language that show other things begin otherwise."""
        begins = r" *(python |fewshot-nas |torchrun |sbatch |ray |scripts/|studies/|for |\w+\(\) \{|\w+=)"
        return "".join(block for block in self.blocks() if re.match(begins, block))

    def steps(self):
        """The lines of its shell and the whole commands in its sentences, in their order."""
        found = re.finditer(
            r"^ *```\n(.*?)^ *```$|`((?:python -m|fewshot-nas) [^`\n]+)`", self.text, re.DOTALL | re.MULTILINE
        )
        shell = self.shell()
        return [
            line
            for match in found
            for line in (match[2] or match[1]).splitlines()
            if line and (match[2] or line in shell)
        ]

    def spans(self):
        """The pieces of code in its sentences."""
        return re.findall(r"`([^`\n]+)`", self.sentences)

    def links(self):
        """The files that it leads to."""
        return re.findall(r"\]\(([^)#:]+)\)", self.sentences)


@pytest.fixture
def page():
    """Makes a page of a text."""
    return Page


@pytest.fixture
def check(calls, documented):
    """Checks everything on a page that can be checked; returns its calls of commands."""

    def run(page, directory=ROOT):
        for example in page.blocks("yaml"):
            path = documented / example.split()[1]  # its first line tells its name
            path.write_text(example)
            load_config(path).space.build()
        for span in page.spans():
            check_span(span, calls)
        for link in page.links():
            assert (directory / link).exists(), f"{link} does not exist"
        return calls(page.shell())

    return run


def check_span(span, calls):
    if name := re.fullmatch(r"python -m fewshot_nas\.([\w.]+)", span):
        assert name[1] in COMMANDS, f"{name[1]} is no command"
    elif re.match(r"python |fewshot-nas [a-z]|torchrun |sbatch |(scripts|studies)/[\w/]+\.sh ", span):
        calls(span)
    elif re.match(r"(?!section\.)[a-z_]+\.[a-z_]+=", span):
        check_settings(shlex.split(span))
    elif (words := span.split())[0] in COMMANDS and words[1:]:
        check_options(words[0], words[1:])
    elif re.fullmatch(r"(configs|docs|scripts|studies|fewshot_nas|json_file)/[\w./]+|[\w.]+\.(md|ipynb|toml)", span):
        assert (ROOT / span).exists(), f"{span} does not exist"


def check_settings(settings):
    """Fails if there are no such settings, or if several of them choose a space that the images do not fit."""
    config = load_config(None, settings)
    space, grey = config.space.build(), ("digits", "fashion_mnist", "fashion_pairs")
    if len(settings) > 1 and any(setting.startswith("space.") for setting in settings):
        assert space.in_channels == (1 if config.data.name in grey else 3), f"{settings}: of other images"


def check_options(command, words):
    """Fails if a command named in a sentence has no such options; their values may be placeholders."""
    known = importlib.import_module(f"fewshot_nas.{command}")._parser()._option_string_actions
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert not unknown, f"{command} has no options {unknown}"
