"""What a ranking of the 45,000 costs, and how much of that can be saved, by tau to the truth of fashion_pairs.

python -m studies.budget.run                      prints the table from studies/budget/results.json
python -m studies.budget.run --measure NAME       measures it first, with results/NAME/supernet.pth, after

    python -m fewshot_nas.test --save NAME --epoch=0 --sample=2000 --images=1000 --calibration_images=256
    python -m fewshot_nas.merge --save NAME --epoch=0_sample2000 --top=prob

`plan.md` has the plan, as it was written before anything ran.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.main import run
from fewshot_nas.config import load_config
from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.ranking.features import column, features, sample
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.ranking.ranker import combine, log_odds, smooth
from fewshot_nas.records.files import read_json, replacing, write_json
from fewshot_nas.results.directories import PhaseDirectory, merged_path
from fewshot_nas.results.scores import read_scores
from fewshot_nas.space.pool import read_arch_file, read_pool
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import by_width
from studies.common import FILES, ROOT, STUDIES
from studies.seeds import tau_gain

BUDGET, TRUTH = STUDIES / "budget" / "results.json", FILES / "fashion_pairs" / "gt_arch200.json"
CONFIG = load_config(ROOT / "configs" / "fashion_pairs.yml")
SPACE, CLASSES, POOL = CONFIG.space.build(), 45, FILES / "json8"
TRUTHS, IMAGES, CALIBRATION, FEW_IMAGES = 200, 10_000, 1_024, 2_500
SAMPLES, SAMPLE_IMAGES, SAMPLE_CALIBRATION = (500, 1_000, 2_000), 1_000, 256
SUBSETS, DRAWS, PILOTS = (250, 500, 1_000, 2_500), 5, slice(0, None, 4)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """Archs to be scored, and how."""

    name: str
    archs: Mapping[str, Arch]
    images: int = FEW_IMAGES
    calibration: int = CALIBRATION
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def file(self) -> str:
        """Where the probabilities go, [archs, images]."""
        return f"{self.name}.npz"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure if asked, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", metavar="NAME", help="renew the committed numbers with the supernet of a run")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="also draw the picture there")
    options = parser.parse_args(argv)
    if options.measure:
        home = ROOT / "results" / options.measure
        for setting in settings():
            measure(setting, home / "supernet.pth", home / "budget")
        write_json(BUDGET, {"arms": list(arms(home / "budget"))})
    measured = read_json(BUDGET)["arms"]
    print("\n".join(lines(measured)))
    if options.figures:
        draw(measured, options.figures / "ranker_budget.svg")
    return 0


def pool() -> dict[str, Arch]:
    """All 45,000."""
    return {arch_id: arch for part in read_pool(POOL, SPACE) for arch_id, arch in part.items()}


def settings() -> Iterator[Setting]:
    """All that has to be computed; the arms are made of it."""
    archs = pool()
    truths = dict(list(archs.items())[:TRUTHS])
    yield Setting("full", truths, IMAGES)
    for count in (128, 256, 512):
        yield Setting(f"calibration {count}", truths, calibration=count)
    yield Setting("bf16", truths, precision="bf16")


def measure(setting: Setting, model: Path, directory: Path) -> None:
    """Write the label's probability of each arch and image, a work unit at a time."""
    import torch

    from fewshot_nas.evaluation.engine import Walk
    from fewshot_nas.evaluation.scorer import Scorer
    from fewshot_nas.models.checkpoint import read_checkpoint, supernet_of

    path = directory / setting.file
    if path.exists():
        return
    torch.set_num_threads(1)
    supernet = supernet_of(model, read_checkpoint(model))
    scorer = Scorer(supernet, _inputs(setting), memory_mb=CONFIG.evaluation.memory_mb)
    plan = scorer.plan(list(setting.archs.values()))
    inputs, _ = scorer.within_memory(plan)
    table = np.zeros((plan.archs, setting.images), np.float32)
    for number, unit in enumerate(plan.units):
        kept = directory / f"{setting.name} {number}.npy"
        if not kept.exists():
            _save(kept, _probabilities(Walk(supernet, unit, inputs)))
            print(f"{setting.name}: {number + 1} of {len(plan.units)}", flush=True)
        for members, row in zip(unit.members, np.load(kept), strict=True):
            table[list(members)] = row
    with replacing(path) as stream:
        np.savez_compressed(stream, ids=list(setting.archs), probabilities=table)


def _save(path: Path, table: NDArray[np.float32]) -> None:
    with replacing(path) as stream:
        np.save(stream, table)


def _inputs(setting: Setting) -> Any:
    from fewshot_nas.computing import DefaultSettings
    from fewshot_nas.data.sources import fixed_part
    from fewshot_nas.distributed import joined
    from fewshot_nas.running.images import evaluation_inputs, open_images

    with joined("cpu", DefaultSettings(threads=1)) as world:
        evaluation = replace(CONFIG.evaluation, calibration_images=setting.calibration)
        config = replace(CONFIG, evaluation=evaluation, run=replace(CONFIG.run, precision=setting.precision))
        data = open_images(config, SPACE)
        return evaluation_inputs(config, SPACE, data, fixed_part("images", data.valid, setting.images), world)


def _probabilities(walk: Any) -> NDArray[np.float32]:
    """Of the label, by each of the unit's networks, [networks, images]."""
    import torch

    walk.calibrate()
    batches: list[dict[int, Any]] = []
    with torch.no_grad():
        for images, labels in walk._inputs.scoring_batches():
            outputs = walk.outputs(images)
            batches.append({leaf: logits.softmax(1).gather(1, labels[:, None])[:, 0] for leaf, logits in outputs})
    rows = [torch.cat([batch[leaf] for batch in batches]) for leaf in sorted(batches[0])]
    table: NDArray[np.float32] = torch.stack(rows).numpy()
    return table


def arms(directory: Path) -> Iterator[dict[str, Any]]:
    """Each arm's share of the full setting's multiply-adds, and its scores, one dict per draw."""
    ids, full = _load(directory, "full")
    whole = _arm("full", 1.0, ids, [full.mean(1)])
    yield whole
    for count in SUBSETS:
        yield from _fewer_images(ids, full, count)
    few = full[:, :FEW_IMAGES].mean(1)
    yield _arm(f"{FEW_IMAGES:,} images", _share(images=FEW_IMAGES), ids, [few])
    for count in (128, 256, 512):
        table = _load(directory, f"calibration {count}")[1]
        yield _arm(f"calibration {count}", _share(FEW_IMAGES, count), ids, [table.mean(1)], f"{FEW_IMAGES:,} images")
    yield _arm("bf16", _share(FEW_IMAGES), ids, [_load(directory, "bf16")[1].mean(1)], f"{FEW_IMAGES:,} images")
    yield from _fewer_archs(directory, ids, full.mean(1))


def _fewer_images(ids: Sequence[str], full: Floats, count: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(count)
    difficulty = full[PILOTS].mean(0)
    subsets = [rng.choice(IMAGES, count, replace=False) for _ in range(DRAWS)]
    share, name = _share(images=count), f"{count:,} images"
    yield _arm(f"{name}, random", share, ids, [full[:, subset].mean(1) for subset in subsets])
    piloted = share + len(ids[PILOTS]) / 45_000
    yield _arm(f"{name}, control variate", piloted, ids, [_controlled(full, difficulty, each) for each in subsets])
    strata = np.array_split(np.argsort(difficulty), count)
    drawn = [np.array([rng.choice(stratum) for stratum in strata]) for _ in range(DRAWS)]
    yield _arm(f"{name}, by pilots", piloted, ids, [full[:, each].mean(1) for each in drawn])
    yield _arm(f"{name}, ridge on pilots", piloted, ids, [_ridge(full, each) for each in subsets])


def _controlled(full: Floats, difficulty: Floats, subset: NDArray[np.int64]) -> Floats:
    """Each arch's mean, corrected by what the subset's difficulty is off, times the arch's slope over images."""
    easy = difficulty[subset] - difficulty[subset].mean()
    slopes = full[:, subset] @ easy / (easy @ easy)
    means: Floats = full[:, subset].mean(1) - slopes * (difficulty[subset].mean() - difficulty.mean())
    return means


def _ridge(full: Floats, subset: NDArray[np.int64]) -> Floats:
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(np.logspace(-2, 4, 13)).fit(full[PILOTS][:, subset], full[PILOTS].mean(1))
    predicted: Floats = model.predict(full[:, subset])
    return predicted


def _fewer_archs(directory: Path, ids: Sequence[str], full: Floats) -> Iterator[dict[str, Any]]:
    """Combined scores: all 200 scored, against none of them scored, a sample of others instead."""
    evaluation = PhaseDirectory(directory.parent).scores(f"0_sample{max(SAMPLES)}")
    sampled = read_scores(merged_path(evaluation, "prob"), SPACE)
    archs, others = pool(), [arch_id for arch_id in sampled if arch_id not in ids]
    every = [*ids, *others]
    described = features(SPACE, [archs[arch_id] for arch_id in every], num_classes=CLASSES)
    scores = column(others, {arch_id: scored.acc for arch_id, scored in sampled.items()})
    yield _arm("full, combined", 1.0, ids, [_combined(described, np.concatenate([100 * full, scores]))[: len(ids)]])
    for count in SAMPLES:
        chosen = sample(SPACE, archs, count)
        scored = np.where([arch_id in chosen for arch_id in others], scores, np.nan)
        values = _combined(described, np.concatenate([np.full(len(ids), np.nan), scored]))[: len(ids)]
        share = _share(SAMPLE_IMAGES, SAMPLE_CALIBRATION, chosen)
        yield _arm(f"{count:,} archs, {SAMPLE_IMAGES:,} images", share, ids, [values], "full, combined")


def _combined(described: Floats, scores: Floats) -> Floats:
    raw = log_odds(scores)
    return combine(raw, smooth(described, raw), described[:, -2]).value


def _share(images: int, calibration: int = CALIBRATION, archs: Any = None) -> float:
    """Of the full setting's multiply-adds."""
    return (images + calibration) / (IMAGES + CALIBRATION) * (1.0 if archs is None else _tree(archs))


def _tree(archs: Any) -> float:
    """The tree of some archs over that of all 45,000."""
    from fewshot_nas.evaluation.prefix_tree import make_plan

    whole = pool()
    some, every = (
        make_plan(by_width(SPACE, 1), list(each), unit_networks=128, num_classes=CLASSES).macs
        for each in ((whole[arch_id] for arch_id in whole if arch_id in archs), whole.values())
    )
    return some / every


def _load(directory: Path, name: str) -> tuple[list[str], Floats]:
    stored = np.load(directory / f"{name}.npz")
    return stored["ids"].tolist(), stored["probabilities"].astype(np.float64)


def _arm(name: str, share: float, ids: Sequence[str], draws: Sequence[Floats], over: str = "full") -> dict[str, Any]:
    scores = [dict(zip(ids, np.round(each, 7).tolist(), strict=True)) for each in draws]
    return {"name": name, "share": round(share, 5), "over": over, "scores": scores}


def lines(measured: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown."""
    truth = {arch_id: entry.acc for arch_id, entry in read_arch_file(TRUTH, SPACE).items()}
    known = {arm["name"]: arm["scores"] for arm in measured}
    yield "| setting | multiply-adds | tau to the truth | less that of | loss [95 %] |"
    yield "|---|---|---|---|---|"
    for arm in measured:
        loss = tau_gain(known[arm["over"]], arm["scores"], truth)
        yield f"| {arm['name']} | {100 * arm['share']:.2f} % | {_tau(arm):.3f} | {arm['over']} | {_shown(loss)} |"


def draw(measured: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Tau against the share of the multiply-adds."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    kinds = {"combined, sampled archs": "archs", "combined": "combined", "raw, fewer images": "random", "raw": "full"}
    for label, word in kinds.items():
        arms = [arm for arm in measured if arm["name"].split()[-1] == word or f" {word}," in arm["name"]]
        axes.plot([100 * arm["share"] for arm in arms], [_tau(arm) for arm in arms], "o-", label=label)
    axes.set(xscale="log", xlabel="multiply-adds, % of the full setting", ylabel="tau to the truth")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def _tau(arm: Mapping[str, Any]) -> float:
    truth = {arch_id: entry.acc for arch_id, entry in read_arch_file(TRUTH, SPACE).items()}
    return fmean(correlate(scores, truth, resamples=0).kendall.value for scores in arm["scores"])


def _shown(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


if __name__ == "__main__":
    sys.exit(run(main))
