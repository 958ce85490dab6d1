"""Print what the trainings of configs/imagenet.yml reserve on each of eight GPUs, by `--plan`; on the null device.

The numbers of docs/imagenet.md: `python -m tests.null_device` runs this.
"""

from pathlib import Path

import torch

from fewshot_nas import train_few_shot, train_stand_alone, train_supernet
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.training import loop
from tests.null_device.every_command import answer_that_all_is_well

CONFIG = Path(__file__).parents[2] / "configs" / "imagenet.yml"


def main() -> None:
    """Plan one training after the other; the peak of each begins anew."""
    answer_that_all_is_well()
    loop.PLANNED_STEPS = 3
    save_supernet(Path("one/supernet.pth"), Supernet(by_width(SPACES["track1"], 1), 1000), {"epoch": 0})
    torch.cuda.init()
    shared = ["--save=plan", "--plan", f"--config={CONFIG}", "data.workers=0"]
    seven = ["--phase=7", "--pretrained_path=one/supernet.pth", "few_shot.batch_size=128"]
    for command, arguments in (
        (train_supernet, ["training.batch_size=128"]),
        (train_few_shot, seven),
        (train_stand_alone, ["--target_arch_num=1", "stand_alone.batch_size=256"]),
    ):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        command.main([*shared, *arguments])


if __name__ == "__main__":
    main()
