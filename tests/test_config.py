"""Settings: defaults, files and overrides, and the sentence for each mistake."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import fewshot_nas
from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config, dump_config, load_config

CONFIGS = Path(__file__).parents[1] / "configs"


def test_the_digits_file_is_the_default():
    assert load_config(CONFIGS / "digits.yml", ["space.preset=null"]) == Config()
    assert yaml.safe_load((CONFIGS / "digits.yml").read_text()) == yaml.safe_load(dump_config(Config()))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("[!c]*.yml")), ids=lambda path: path.name)
def test_every_file_can_be_read(path):
    assert isinstance(load_config(path), Config)


def test_a_dumped_config_reads_back_equal(tmp_path):
    config = load_config(
        None, ["training.resolutions=[6, 8]", "space.preset=px8", "space.in_channels=3", "data.root=./~2024-01-01"]
    )
    (tmp_path / "config.yml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yml") == config


def test_the_truth_is_the_one_that_is_set_or_the_run_s_own_or_the_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = load_config().truth_path("one")
    assert (shipped.is_file(), shipped.is_absolute()) == (True, True)
    own = Path("results/one/gt_arch30.json")
    for other in ("data.name=folders", "run.pool=pool"):
        assert load_config(None, [other]).truth_path("one") == own
    own.parent.mkdir(parents=True)
    own.touch()
    assert load_config().truth_path("one") == own
    assert load_config(None, ["run.ground_truth=mine.json"]).truth_path("one") == Path("mine.json")


def test_the_pool_is_the_one_here_or_the_package_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (load_config().run.pool_path / "part8.json").is_file()
    Path("json_file/json8").mkdir(parents=True)
    assert load_config().run.pool_path == Path("json_file/json8")
    assert load_config(None, ["run.pool=space"]).run.pool_path == Path("space")


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "config.yml").write_text("training: {epochs: 5, lr: 0.5}")
    config = load_config(tmp_path / "config.yml", ["training.epochs=7"])
    assert (config.training.epochs, config.training.lr) == (7, 0.5)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.lr=1e-3", 0.001),
        ("training.lr=1", 1.0),
        ("training.epochs=3", 3),
        ("training.sampling=random", "random"),
    ],
)
def test_values_take_the_type_of_their_setting(override, value):
    config = load_config(None, [override])
    found = getattr(config.training, override.partition("=")[0].partition(".")[2])
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.speed=1", "training.speed is not a setting, expected one of epochs, "),
        ("speed.training=1", "speed is not a setting, expected one of space, data, "),
        ("epochs=1", "'epochs=1' is not an override, expected section.key=value"),
        ("training.epochs", "'training.epochs' is not an override"),
        ("training.epochs=0", "training.epochs is 0, expected a whole number >= 1"),
        ("training.batch_size=-1", "training.batch_size is -1, expected a whole number >= 1"),
        ("training.epochs=2.5", "training.epochs is 2.5, expected a whole number >= 1"),
        ("training.epochs=true", "training.epochs is true, expected a whole number >= 1"),
        ("training.epochs=", "training.epochs is empty, expected a whole number >= 1"),
        ("training.lr=fast", "training.lr is fast, expected a number >= 0"),
        ("training.lr=-1e-3", "training.lr is -1e-3, expected a number >= 0"),
        ("training.lr=nan", "training.lr is nan, expected a number >= 0"),
        ("training.lr=.inf", "training.lr is .inf, expected a number >= 0"),
        ("training.dropout=1", "training.dropout is 1, expected a number >= 0 and < 1"),
        ("training.sampling=best", "training.sampling is best, expected one of random"),
        ("training.resolutions=8", r"training.resolutions is 8, expected a list such as \[1, 2\]"),
        ("training.resolutions=[0]", "training.resolutions is 0, expected a whole number >= 1"),
        ("training.resolutions=[8", r"training.resolutions=\[8: not valid YAML"),
        ("evaluation.calibration_images=0", "evaluation.calibration_images is 0, expected a whole number >= 1"),
        ("run.seed=-1", "run.seed is -1, expected a whole number >= 0"),
        ("data.root=", "data.root is empty, expected a path"),
        ("data.name=", "data.name is empty, expected a word"),
        ("space.stem_pool=2", "space.stem_pool is 2, expected true or false"),
        (
            "space.preset=px9",
            "space.preset is 'px9', expected one of channel_mobilenet, ",
        ),
        ("space.ratios=[1]", r"space px8: pool_digits are \(3, 3, 5, 7\), expected each in 1\.\.1"),
    ],
)
def test_a_mistake_is_named(override, message):
    with pytest.raises(InputError, match=f"^{message}"):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {speed: 1}", "training.speed is not a setting"),
        ("TRAINING: {epochs: 1}", "TRAINING is not a setting"),  # other keys in capitals are Cream's
        ("training: 3", "training is 3, expected a section with keys"),
        ("[1]", "expected sections such as `data:`, got \\[1\\]"),
        ("training: {epochs: 1", "not valid YAML"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path, text, message):
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(InputError, match=f"config.yml: {message}"):
        load_config(tmp_path / "config.yml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yml: cannot be read"):
        load_config(tmp_path / "none.yml")


@pytest.mark.parametrize("number", ["064", "0x40", "0b11", "0o17", "1_0", "1:30", "+-3", "'3'", "9" * 30])
def test_a_number_is_decimal_or_refused(tmp_path, number):
    (tmp_path / "config.yml").write_text(f"training: {{batch_size: {number}}}")
    for path, overrides in ((None, [f"training.batch_size={number}"]), (tmp_path / "config.yml", [])):
        with pytest.raises(InputError, match=r"training.batch_size is .*, expected a whole number >= 1"):
            load_config(path, overrides)
    with pytest.raises(InputError, match=r"training.lr is .*, expected a number"):
        load_config(None, ["training.lr=1:30"])


@pytest.mark.parametrize("text", ["set #2", "2024-01-01", "no", "null", "1_0", "1:30", "[1]", "{a: b}", "!x", "a: b"])
def test_a_path_is_kept_as_text(tmp_path, text):
    assert load_config(None, [f"data.root={text}"]).data.root == Path(text)
    (tmp_path / "config.yml").write_text(yaml.safe_dump({"data": {"root": text}}))
    assert load_config(tmp_path / "config.yml").data.root == Path(text)
    plain = {"2024-01-01", "no", "null", "1_0", "1:30"} & {text}
    (tmp_path / "config.yml").write_text(f"data:\n  root: {text if plain else 'x'}\n  cache: ~/y\n")
    data = load_config(tmp_path / "config.yml").data
    assert (data.root, data.cache) == (Path(text if plain else "x"), Path.home() / "y")


def test_only_a_leading_tilde_is_expanded_and_only_null_is_nothing(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for text, path in (("~", "/home/me"), ("~/$USER/~", "/home/me/$USER/~"), ("a/~", "a/~"), ("'my set'", "my set")):
        assert load_config(None, [f"data.root={text}"]).data.root == Path(path)
        assert load_config(None, [f"run.ground_truth={text}"]).run.ground_truth == Path(path)
    assert load_config(None, ["run.ground_truth=null"]).run.ground_truth is None
    with pytest.raises(InputError, match=r"data.root is ~nobody-of-that-name/x, expected a path"):
        load_config(None, ["data.root=~nobody-of-that-name/x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data: {root: a}\nrun: {seed: 1}\ndata: {name: b}",
            "line 3 repeats data, which line 1 has; expected each key once",
        ),
        ("run:\n  seed: 1\n  'seed': 2", "line 3 repeats seed, which line 2 has"),
        ("run: {seed: !!int x}", "line 1 has the tag tag:yaml.org,2002:int, expected none"),
        ("run: {seed: !!python/name:os.system x}", "line 1 has the tag"),
        ("run: {seed: 2024-13-45}", "run.seed is 2024-13-45, expected a whole number"),
        ("run: {seed: " + "[" * 3000, "is nested too deeply"),
        ("run: &a {seed: *a}", "is nested too deeply"),
        ("run: {? [seed] : 1}", "line 1 has a list or a mapping as a key"),
        ('run: {seed: "\\UFFFFFFFF"}', "not valid YAML"),
        ("run: {seed: 1}\n---\nrun: {seed: 2}", "not valid YAML"),
        ("run: {<<: 3}", "line 1 merges 3, expected a mapping"),
        ("run: {tf32: yes}", "run.tf32 is yes, expected true or false"),
        ("run:", "run is empty, expected a section with keys"),
        ("# nothing", "expected sections such as `data:`, got empty"),
    ],
)
def test_yaml_that_says_something_else_than_it_seems_to_is_refused(tmp_path, text, message):
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "config.yml")
    assert message in str(caught.value)
    assert str(caught.value).count("config.yml") == 1
    assert "\n" not in str(caught.value)


def test_a_section_can_be_merged_into_another(tmp_path):
    (tmp_path / "config.yml").write_text("training: &t {epochs: 5, lr: 0.5}\nfew_shot: {<<: *t, lr: 1}")
    config = load_config(tmp_path / "config.yml")
    assert (config.few_shot.epochs, config.few_shot.lr, config.training.lr) == (5, 1.0, 0.5)


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_override_is_a_crash(name, value):
    with suppress(InputError):
        load_config(None, [f"training.{name}={value}", f"data.root={value}", f"training.resolutions={value}"])


@pytest.mark.golden
def test_imagenet_s_batches_are_the_published_totals_on_eight_gpus():
    config = load_config(CONFIGS / "imagenet.yml")
    totals = [section.batch_size for section in (config.training, config.few_shot, config.stand_alone)]
    assert totals == [8 * 128, 8 * 128, 8 * 256]


@pytest.mark.parametrize("name", ["config.py", "cream/config.py"])
def test_every_setting_has_a_comment_above_it(name):
    lines = (Path(fewshot_nas.__file__).parent / name).read_text(encoding="utf-8").splitlines()
    # Sections of the whole configuration need none.
    keys = [number for number, line in enumerate(lines) if re.match(r"    \w+: .* = (?!field)", line)]
    assert len(keys) > 20
    assert [lines[number] for number in keys if not lines[number - 1].startswith("    # ")] == []
