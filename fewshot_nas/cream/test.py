"""Test a retrained network: accuracy on the test images, parameters and multiply-adds."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run, speaker
from fewshot_nas.cli.settings import load
from fewshot_nas.config import Config
from fewshot_nas.cream.config import CheckpointConfig, RetrainConfig
from fewshot_nas.cream.model import FORM, add_path_option, path_overrides
from fewshot_nas.records.files import write_json
from fewshot_nas.results.directories import PhaseDirectory, RetrainDirectory
from fewshot_nas.running.options import add_config_options, add_device_option


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_intermixed_args(argv)
    overrides = path_overrides(options.from_search, options.overrides)
    config = load(CheckpointConfig, options.config or _stored(overrides), overrides, (RetrainConfig, Config))
    model, checkpoint = config.model(), config.RESUME_PATH
    if checkpoint is None:
        raise InputError("RESUME_PATH is not given, expected the .pth.tar that `retrain` has written")
    from fewshot_nas.cream.runs import child_of, measured, scoring_inputs, space_words
    from fewshot_nas.distributed import joined
    from fewshot_nas.models.checkpoint import read_checkpoint
    from fewshot_nas.running.images import images_of, opened, refuse_other_images
    from fewshot_nas.running.run import placed

    with joined(options.device, config.run) as world:
        report, data = speaker(world.is_rank0), images_of(config.data)
        if not options.from_search and (unlike := config.unlike_public()):
            report(unlike)
        report(opened(f"network {checkpoint}", data, space_words(config), world))
        classes, channels, content = data.num_classes, len(data.mean), read_checkpoint(checkpoint)
        refuse_other_images(checkpoint, content.get("trained_on", {}), data)
        network = placed(child_of(checkpoint, content, model, classes, channels), world).eval()
        found = measured(network, scoring_inputs(config, data, data.test, world), world)
        cost = model.on(channels).cost(model.arch, num_classes=classes)
        home = RetrainDirectory(checkpoint.parent, config.name)
        if world.is_rank0 and home.manifest.exists() and home.chosen == checkpoint:
            write_json(home.tested, {"top1": found.top1, "top5": found.top5, "images": len(data.test)})
        report(
            f"{checkpoint}: top-1 {found.top1:.2f} %, top-5 {found.top5:.2f} % of the {len(data.test)} test images of"
            f" {data.name} at {model.resolution} px; {cost.params:,} params, {cost.macs:,} MACs"
        )
    return 0


def _stored(overrides: Sequence[str]) -> Path | None:
    """The settings of the retraining that has written the checkpoint: data, path and image size."""
    named = [text for name, _, text in (override.partition("=") for override in overrides) if name == "RESUME_PATH"]
    stored = PhaseDirectory(Path(named[-1]).parent).config if named else None
    return stored if stored and stored.exists() else None


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.cream.test", description=__doc__)
    add_device_option(parser)
    add_path_option(parser)
    add_config_options(parser, FORM)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
