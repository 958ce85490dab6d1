"""Who comes from the public code: `configs/published.yml` names its keys, and its files are read."""

import re
from pathlib import Path

import pytest
import yaml

from fewshot_nas.cli.settings import load
from fewshot_nas.config import load_config
from fewshot_nas.cream.config import CheckpointConfig, RetrainConfig, SearchConfig
from tests.script_module import load_script

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "configs" / "published.yml"


def test_every_value_of_the_published_recipe_names_the_public_key():
    """But those of a few-shot phase that are the supernet's."""
    config, section, named, written = load_config(PUBLISHED), "", set(), set()
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"(\w+):( +# .*)?", line):
            section = found[1]
        elif found := re.fullmatch(r"  (\w+): [^#]+?( +# .+)?", line):
            written.add((section, found[1]))
            named |= {(section, found[1])} if found[2] else set()
    assert written == {(name, key) for name, keys in yaml.safe_load(PUBLISHED.read_text()).items() for key in keys}
    assert len(named) > 35
    assert {name for name, _ in written - named} == {"few_shot"}
    for _, key in written - named:
        assert getattr(config.few_shot, key) == getattr(config.training, key), key


def test_the_published_recipe_has_the_values_of_the_page():
    """Each key of the file, section by section; a few-shot phase's that are the supernet's are not repeated."""
    page = (ROOT / "docs" / "from_the_public_code.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`.*?) \| (`\w+=.*) \|$", page, re.MULTILINE)
    shown = [(section, word) for section, words in rows for word in re.findall(r"`([^`]+=[^`]*)`", words)]
    recipe = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    found = [
        (name, f"{key}={_written(value)}")
        for name, keys in recipe.items()
        for key, value in keys.items()
        if name != "few_shot" or recipe["training"].get(key) != value
    ]
    assert [word for _, word in shown] == [word for _, word in found]
    assert all(f"`{name}`" in section for (section, _), (name, _) in zip(shown, found, strict=True))


def _written(value):
    return (
        str(value).lower()
        if isinstance(value, bool)
        else ",".join(map(str, value if isinstance(value, list) else [value]))
    )


@pytest.mark.parametrize(
    ("command", "kind", "text", "expected", "left_out"),
    [
        (
            "search",
            SearchConfig,
            "DATA_DIR: ./data\nNUM_GPU: 8\nAMP: false\nMETA_LR: 1e-4\nDATASET: {BATCH_SIZE: 128, IMAGE_SIZE: 224}\n"
            "SUPERNET: {FLOPS_MAXIMUM: 600, HOW_TO_PROB: pre_prob, UPDATE_2ND: true}\nBATCHNORM: {SYNC_BN: false}",
            {"BATCH_SIZE": 1024, "FLOPS_MAXIMUM": 600.0, "META_LR": 1e-4, "SAMPLING": "prior", "BOARD": "batch"},
            "AMP, SUPERNET.UPDATE_2ND",
        ),
        (
            "retrain",
            RetrainConfig,
            "NUM_GPU: 2\nLR: 1e-2\nSCHED: sgd\nDATASET: {BATCH_SIZE: 128}\nNET: {SELECTION: 481, EMA: {DECAY: 0.9998}}",
            {"BATCH_SIZE": 256, "LR": 0.04, "MODEL_SELECTION": 481, "EMA_DECAY": 0.9998},
            "SCHED",
        ),
        (
            "test",
            CheckpointConfig,
            "MODEL_SELECTION: 43\nRESUME_PATH: ./43.pth.tar\nTTA: 0",
            {"MODEL_SELECTION": 43, "RESUME_PATH": Path("43.pth.tar")},
            "TTA",
        ),
    ],
)
def test_public_files_of_cream_are_read_and_what_is_left_out_is_named(
    tmp_path, capsys, command, kind, text, expected, left_out
):
    (tmp_path / "public.yaml").write_text(text)
    assert load_script("cream_yaml").main([command, str(tmp_path / "public.yaml")]) == 0
    said = capsys.readouterr()
    (tmp_path / "mine.yml").write_text(said.out)
    config = load(kind, tmp_path / "mine.yml")
    assert {key: getattr(config, key) for key in expected} == expected
    assert config.data.name == "folders"
    assert said.err == f"left out, because there is no such setting: {left_out}\n"


def test_the_readmes_112_is_the_network_of_114():
    models = [load(CheckpointConfig, None, [f"MODEL_SELECTION={number}"]).model() for number in (112, 114)]
    assert models[0] == models[1]
