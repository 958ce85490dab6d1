"""Join an evaluation's parts into one file, and say how well its scores rank the ground truth."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fewshot_nas.cli import add_config_options, config_of, run
from fewshot_nas.errors import InputError
from fewshot_nas.results import Phase, filled_path, is_evaluation_name, manifest_path, phase_directory
from fewshot_nas.scores.evaluations import read_truth
from fewshot_nas.scores.manifests import Network, joined_manifest, network_of, objections, read_manifests
from fewshot_nas.scores.merging import Codes, merge_parts, read_codes, write_merged
from fewshot_nas.scores.shards import OF_TOP, Scored, write_scores
from fewshot_nas.space.pool import Entry


def main(argv: Sequence[str] | None = None) -> int:
    """Merge the parts of one evaluation beside them, and compare the scores with the ground truth."""
    options = _parser().parse_intermixed_args(argv)
    metric, directory = OF_TOP[options.top], phase_directory(options.save, Phase.parse(options.stage))
    scores = _existing(directory.scores(options.epoch), options.epoch)
    config = config_of(options, directory.config)
    space = config.space.build()
    pool = read_codes(config.run.pool, space)
    manifests = read_manifests(scores, len(pool))
    merged = merge_parts(scores, metric, pool, manifests, space)
    for objection in objections(scores, manifests, len(pool)):
        if not options.force:
            raise InputError(f"{objection}; --force merges all the same")
        print(f"warning: {objection}", file=sys.stderr)
    manifest = joined_manifest(manifests, len(merged))
    network = network_of(manifest, manifest_path(scores, min(manifests, default=1)), space)
    codes = {arch_id: code for part in pool for arch_id, code in part.items()}
    truth = read_truth(config.run.ground_truth, codes, space)
    path = write_merged(scores, metric, merged, manifest)
    print(f"{len(merged)} archs in {len(pool)} parts: {path}")
    if "sample" in manifest:
        _fill(scores, metric, merged, codes, network)
    if not config.run.ground_truth.exists():
        print(f"{config.run.ground_truth}: no such file, so there is nothing to compare with (run.ground_truth)")
    else:
        _compare(merged, truth, network, config.run.ground_truth)
    return 0


def _existing(scores: Path, epoch: str) -> Path:
    if not is_evaluation_name(epoch):
        raise InputError(f"--epoch is {epoch!r}, expected a number such as 17, or 17_all_test, or 17_sample2000")
    if not scores.is_dir():
        known = sorted(path.name for path in scores.parent.glob("*") if path.is_dir())
        found = f"there are {', '.join(known)}" if known else "`python -m fewshot_nas.test` writes scores"
        raise InputError(f"{scores}: no such evaluation; {found}")
    return scores


def _fill(scores: Path, metric: str, merged: Mapping[str, Scored], codes: Codes, network: Network) -> None:
    """Write the scores of a sample, and predicted scores for the rest of the pool."""
    # Here, so that --help need not wait for numpy.
    from fewshot_nas.ranking.features import column, features
    from fewshot_nas.ranking.ranker import in_percent
    from fewshot_nas.ranking.scale import log_odds
    from fewshot_nas.ranking.smoothing import smooth

    archs = map(network.space.decode, codes.values())
    described = features(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
    measured = log_odds(column(codes, {arch_id: scored.acc for arch_id, scored in merged.items()}))
    predicted = in_percent(smooth(described, measured)).value.round(6).tolist()
    filled = {i: merged.get(i, Scored(value, codes[i])) for i, value in zip(codes, predicted, strict=True)}
    write_scores(filled_path(scores, metric), filled)
    print(f"{len(filled)} archs, {len(filled) - len(merged)} of them predicted: {filled_path(scores, metric)}")


def _compare(merged: Mapping[str, Scored], truth: Mapping[str, Entry], network: Network, path: Path) -> None:
    # Here, so that --help need not wait for numpy.
    from fewshot_nas.ranking.correlation import FEWEST, agreement, agreement_table, proxies

    common = {arch_id: entry for arch_id, entry in truth.items() if arch_id in merged}
    if len(common) < FEWEST:
        print(f"{path}: only {len(common)} of its archs were scored, too few for a correlation")
        return
    archs = {arch_id: entry.arch for arch_id, entry in common.items()}
    accuracy = {arch_id: entry.acc for arch_id, entry in common.items()}
    rows = {"supernet": {arch_id: merged[arch_id].acc for arch_id in common}}
    rows |= proxies(network.space, archs, resolution=network.resolution, num_classes=network.num_classes)
    print(f"against {path}, with 95 % intervals:")
    print(agreement_table({name: agreement(values, accuracy) for name, values in rows.items()}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fewshot_nas.merge", description=__doc__)
    add = parser.add_argument
    add("--save", default="save", metavar="NAME", help="directory under results/ (default save)")
    add("--epoch", required=True, metavar="EPOCH", help="the evaluation: 17, 17_all_test, 17_sample2000, ...")
    add("--stage", default="1", metavar="PHASE", help="1 (the one-shot supernet), 2, 3_from_2, ... (default 1)")
    add("--top", choices=OF_TOP, default="1", help="the scores to merge: top-1 (default), top-5, mean probability")
    add("--force", action="store_true", help="merge even if manifests are missing or differ")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
