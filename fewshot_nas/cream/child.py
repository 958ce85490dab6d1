"""The stand-alone network of a path: timm's MobileNetV3 with the path's blocks."""

from functools import partial

from timm.models import MobileNetV3
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from torch import nn

from fewshot_nas.cream.paths import CreamPath, check_path
from fewshot_nas.cream.space import DIVISOR, PUBLISHED, CreamSpace
from fewshot_nas.space.space import round_width


def child_network(
    path: CreamPath, num_classes: int, in_channels: int = 3, dropout: float = 0.0, space: CreamSpace = PUBLISHED
) -> nn.Module:
    """The stand-alone network of a path. It maps images [B, in_channels, H, W] to logits [B, num_classes].

    Args:
        dropout: rate before the classifier, in training mode.

    Raises:
        InputError: the path is malformed.
    """
    network = MobileNetV3(
        decode_arch_def(_blocks(space, check_path(path))),  # type: ignore[no-untyped-call]
        num_classes=num_classes,
        in_chans=in_channels,
        stem_size=space.stem_width,
        num_features=space.head_width,
        act_layer=nn.SiLU,
        se_layer=partial(
            SqueezeExcite,
            force_act_layer=nn.ReLU,
            gate_layer="hard_sigmoid",
            rd_round_fn=partial(round_width, divisor=DIVISOR),
        ),
        se_from_exp=True,
        drop_rate=dropout,
    )
    network.conv_stem.stride = (space.stem_stride,) * 2  # timm's is always 2; the padding is the same
    return network


def _blocks(space: CreamSpace, path: CreamPath) -> list[list[str]]:
    """Each stage's blocks in timm's notation: type, repeats, kernel, stride, expansion, width, squeeze."""
    middle = [
        [
            f"ir_r1_k{kernel}_s{stride}_e{expansion}_c{out}_se0.25"
            for kernel, expansion in map(space.choices.__getitem__, stage)
        ]
        for stage, (out, stride) in zip(path, space.stages, strict=True)
    ]
    return [[f"ds_r1_k3_s1_e1_c{space.stem_width}_se0.25"], *middle, [f"cn_r1_k1_s1_c{space.last_width}"]]
