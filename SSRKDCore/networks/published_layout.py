"""How the parameters of the released SSR-KD checkpoints are named, and which of ours each of them is.

Pairs of module names are listed; the parameters below a module keep their own names (`weight`, `bias`, `running_mean`,
...). Every released name is in exactly one of three places: `parameters` (ours to fill), `aliases` (a second name of a
released tensor) or `unused` (tensors that the released network holds but never computes with).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache

import torch

from SSRKDCore.networks.build import build_network, kind_of
from SSRKDCore.networks.config import NetworkConfig, ct_config, segmenter_config, xray_config

ModulePairs = Iterator[tuple[str, str]]

#: The parts of an hourglass of depth 2 in the released file, outer level 2, inner level 1.
_HOURGLASS_PARTS = {
    "b1_2": "beside",
    "b2_2": "down",
    "b3_2": "up",
    "b1_1": "inside.beside",
    "b2_1": "inside.down",
    "b3_1": "inside.up",
    "b2_plus_1": "inside.inside",
}
_VIEWS = {"frontal_filter": "encoders.0", "lateral_filter": "encoders.1"}
_STEM_BLOCKS = {"conv2": "stem_block1", "conv3": "stem_block2", "conv4": "stem_block3"}
_STEM_BLOCKS_WITH_SHORTCUT = ("conv2", "conv4")
_STACKS = 4

_VNET_DOWN = ("block_one", "block_two", "block_three", "block_four", "block_five")
_VNET_UP = ("block_six", "block_seven", "block_eight", "block_nine")
_VNET_HEADS = ("head_6", "head_7", "head_8", "head_9")


@dataclass(frozen=True)
class PublishedLayout:
    """One released network.

    Attributes:
        name: "recon_xray", "recon_ct" or "bone_seg".
        config: its architecture.
        parameters: released name -> our name.
        aliases: released name -> the released name of which it is a second name; the tensors must be equal.
        unused: released names that are read and checked but belong to nothing.
        shapes: released name -> shape, for every name.
    """

    name: str
    config: NetworkConfig
    parameters: dict[str, str]
    aliases: dict[str, str]
    unused: frozenset[str]
    shapes: dict[str, tuple[int, ...]]

    @property
    def kind(self) -> str:
        """The kind of the network: "xray", "ct" or "segmenter"."""
        return kind_of(self.config)


def _residual_block(released: str, ours: str, shortcut: bool) -> ModulePairs:
    for number in (1, 2, 3):
        yield f"{released}.conv{number}", f"{ours}.conv{number}"
        yield f"{released}.bn{number}", f"{ours}.norm{number}"
    if shortcut:
        yield f"{released}.downsample.0", f"{ours}.shortcut.0"
        yield f"{released}.downsample.2", f"{ours}.shortcut.2"


def _residual_blocks() -> Iterator[tuple[str, str, bool]]:
    """Every residual block: released name, our name, whether it has a shortcut convolution."""
    for view, encoder in _VIEWS.items():
        for released, ours in _STEM_BLOCKS.items():
            yield f"{view}.{released}", f"{encoder}.{ours}", released in _STEM_BLOCKS_WITH_SHORTCUT
        for stack in range(_STACKS):
            for released, ours in _HOURGLASS_PARTS.items():
                yield f"{view}.m{stack}.{released}", f"{encoder}.stages.{stack}.hourglass.{ours}", False
            yield f"{view}.top_m_{stack}", f"{encoder}.stages.{stack}.block", False


def _xray_modules() -> ModulePairs:
    for released, ours, shortcut in _residual_blocks():
        yield from _residual_block(released, ours, shortcut)
    for view, encoder in _VIEWS.items():
        yield f"{view}.conv1", f"{encoder}.stem_conv"
        yield f"{view}.bn1", f"{encoder}.stem_norm"
        for stack in range(_STACKS):
            stage = f"{encoder}.stages.{stack}"
            yield f"{view}.conv_last{stack}", f"{stage}.conv"
            yield f"{view}.bn_end{stack}", f"{stage}.norm"
            yield f"{view}.l{stack}", f"{stage}.output"
            if stack < _STACKS - 1:
                yield f"{view}.bl{stack}", f"{stage}.features_back"
                yield f"{view}.al{stack}", f"{stage}.output_back"
    for layer in range(3):
        yield f"surface_classifier.conv{layer}", f"classifier.layers.{layer}"
    yield "projector", "kd_projection"


def _ct_modules() -> ModulePairs:
    for level, released in enumerate(_VNET_DOWN):
        yield f"im_filter.{released}.conv", f"encoder.down_blocks.{level}"
        if level < 4:
            yield f"im_filter.{released}_dw.conv", f"encoder.halvings.{level}"
    for step, (before, released, head) in enumerate(
        zip(("block_five", *_VNET_UP[:-1]), _VNET_UP, _VNET_HEADS, strict=True)
    ):
        yield f"im_filter.{before}_up.conv", f"encoder.doublings.{step}"
        yield f"im_filter.{released}.conv", f"encoder.up_blocks.{step}"
        yield f"im_filter.{head}.conv", f"encoder.heads.{step}"
    for layer in range(5):
        yield f"surface_classifier.conv{layer}", f"classifier.layers.{layer}"


def _segmenter_modules() -> ModulePairs:
    yield "inc.double_conv", "down_blocks.0"
    for level in range(1, 5):
        yield f"down{level}.maxpool_conv.1.double_conv", f"down_blocks.{level}"
        yield f"up{level}.up", f"doublings.{level - 1}"
        yield f"up{level}.conv.double_conv", f"up_blocks.{level - 1}"
    yield "outc.conv", "output"


def _layout(name: str, config: NetworkConfig, modules: ModulePairs) -> PublishedLayout:
    with torch.device("meta"):
        our_shapes = {key: tuple(tensor.shape) for key, tensor in build_network(config).state_dict().items()}
    parameters: dict[str, str] = {}
    for released, ours in modules:
        for key in our_shapes:
            if key.startswith(ours + "."):
                parameters[released + key[len(ours) :]] = key
    return PublishedLayout(
        name, config, parameters, {}, frozenset(), {released: our_shapes[ours] for released, ours in parameters.items()}
    )


def _xray_layout() -> PublishedLayout:
    layout = _layout("recon_xray", xray_config("published"), _xray_modules())
    # Every released block holds a fourth normalisation for its shortcut. With a shortcut, the file has it twice (as bn4
    # and as downsample.0); without one, it is never used.
    aliases: dict[str, str] = {}
    unused: set[str] = set()
    shapes = dict(layout.shapes)
    for released, _, shortcut in _residual_blocks():
        for part in ("weight", "bias"):
            fourth = f"{released}.bn4.{part}"
            shapes[fourth] = shapes[f"{released}.bn1.{part}"]
            if shortcut:
                aliases[fourth] = f"{released}.downsample.0.{part}"
            else:
                unused.add(fourth)
    return PublishedLayout(layout.name, layout.config, layout.parameters, aliases, frozenset(unused), shapes)


_LAYOUTS: dict[str, Callable[[], PublishedLayout]] = {
    "recon_xray": _xray_layout,
    "recon_ct": lambda: _layout("recon_ct", ct_config("published"), _ct_modules()),
    "bone_seg": lambda: _layout("bone_seg", segmenter_config("published"), _segmenter_modules()),
}

#: The released networks.
PUBLISHED_NAMES = tuple(_LAYOUTS)


@cache
def published_layout(name: str) -> PublishedLayout:
    """The layout of "recon_xray", "recon_ct" or "bone_seg"."""
    return _LAYOUTS[name]()


def recognise(names: Collection[str]) -> PublishedLayout | None:
    """The released network that shares most parameter names with these; None if there is none in common."""
    shared = {name: len(published_layout(name).shapes.keys() & set(names)) for name in PUBLISHED_NAMES}
    best = max(PUBLISHED_NAMES, key=lambda name: shared[name])
    return published_layout(best) if shared[best] else None
