"""Architectures as small frozen configurations: what a network is, and nothing about how it was trained.

Three kinds (`XrayNetworkConfig`, `CtNetworkConfig`, `SegmenterConfig`), each with the presets `paper` (as the paper
describes it), `published` (as the released checkpoints are laid out), `compact` (for a CPU). No torch is needed here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from SSRKDCore.anatomy import CLASS_COUNT
from SSRKDCore.errors import InputError

PRESETS = ("paper", "published", "compact")

#: Where the centre of a feature-map pixel lies, see `XrayNetworkConfig.sampling`.
SAMPLINGS = ("published", "pixel_centres")

ConfigType = TypeVar("ConfigType", bound="NetworkConfig")


@dataclass(frozen=True)
class NetworkConfig:
    """What the three configurations share: a strict dictionary form, and checks with a reason."""

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-able values (tuples become lists)."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls: type[ConfigType], values: Mapping[str, Any]) -> ConfigType:
        """The configuration of a dictionary made by `to_dict`.

        Every field must be there, with its own type, and nothing else: an architecture that is half said is refused.

        Raises:
            InputError: a field is missing, unknown, of the wrong type or out of range.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"The architecture is a {type(values).__name__}, not an object with named fields.")
        names = [item.name for item in dataclasses.fields(cls)]
        missing = [name for name in names if name not in values]
        unknown = [str(name) for name in values if name not in names]
        if missing or unknown:
            problem = [f"lacks {', '.join(missing)}"] if missing else []
            problem += [f"has the unknown {', '.join(unknown)}"] if unknown else []
            raise InputError(f"The architecture of a {cls.__name__} {' and '.join(problem)}; save the model again.")
        return cls(**{item.name: _typed(item.name, values[item.name], item.type) for item in dataclasses.fields(cls)})

    def _require(self, holds: bool, words: str) -> None:
        if not holds:
            raise InputError(f"The architecture of a {type(self).__name__} does not hold together: {words}.")


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """`value` as the annotated type of its field; no silent conversion but list -> tuple and int -> float."""
    if annotation == "bool" and isinstance(value, bool):
        return value
    if annotation == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if annotation == "float" and isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    if annotation == "str" and isinstance(value, str):
        return value
    if (
        annotation == "tuple[int, ...]"
        and isinstance(value, (list, tuple))
        and all(type(item) is int for item in value)
    ):
        return tuple(value)
    raise InputError(f"The architecture's {name} must be {annotation}, not {str(value)[:60]!r}.")


@dataclass(frozen=True)
class XrayNetworkConfig(NetworkConfig):
    """The network from radiographs to occupancy (student of the paper; stacked hourglass per view + point classifier).

    Attributes:
        input_size: side of the square input image of every view, pixels; a multiple of 4 * 2**hourglass_depth.
        input_channels: 1 (radiograph) or 2 (bone-enhanced, then original).
        view_count: number of views, in the order of the rig.
        separate_encoders: one encoder per view; False shares one encoder between the views.
        stacks: number of hourglasses in a row.
        features: channels of a feature map, F.
        hourglass_depth: number of halvings inside an hourglass.
        stem_features: channels after the first convolution; the stem's second block gives twice as many.
        norm_groups: groups of the group normalisation (fewer where a layer has not enough channels to divide).
        depth_per_view: the point features end with the point's depth in every view.
        classifier_hidden: widths of the hidden layers of the point classifier.
        class_count: number of classes, background included.
        kd_features: width of the space in which knowledge distillation compares point features.
        sampling: how normalised coordinates meet the feature map. "published": -1 and 1 are the centres of the first
            and last pixel (align_corners=True), as the released networks were trained; "pixel_centres": -1 and 1 are
            the outer edges of the first and last pixel (align_corners=False), so that maps and images lie exactly on
            each other.
    """

    input_size: int
    input_channels: int
    view_count: int
    separate_encoders: bool
    stacks: int
    features: int
    hourglass_depth: int
    stem_features: int
    norm_groups: int
    depth_per_view: bool
    classifier_hidden: tuple[int, ...]
    kd_features: int
    sampling: str
    class_count: int = field(default=CLASS_COUNT)

    def __post_init__(self) -> None:
        self._require(1 <= self.hourglass_depth <= 8, "hourglass_depth must be 1 to 8")
        self._require(8 <= self.input_size <= 8192, "input_size must be 8 to 8192")
        step = 4 * 2**self.hourglass_depth
        self._require(self.input_size % step == 0, f"input_size must be a multiple of {step}")
        self._require(self.input_channels in (1, 2), "input_channels must be 1 or 2")
        self._require(1 <= self.view_count <= 16, "view_count must be 1 to 16")
        self._require(1 <= self.stacks <= 16, "stacks must be 1 to 16")
        self._require(
            4 <= self.features <= 2048 and self.features % 4 == 0, "features must be a multiple of 4 up to 2048"
        )
        self._require(
            2 <= self.stem_features <= 1024 and self.stem_features % 2 == 0, "stem_features must be even, up to 1024"
        )
        self._require(1 <= self.norm_groups <= 256, "norm_groups must be 1 to 256")
        self._require(_widths_hold(self.classifier_hidden), "classifier_hidden must be 1 to 16 widths of 1 to 8192")
        self._require(1 <= self.kd_features <= 4096, "kd_features must be 1 to 4096")
        self._require(self.sampling in SAMPLINGS, f"sampling must be one of {', '.join(SAMPLINGS)}")
        self._require(self.class_count == CLASS_COUNT, f"class_count must be {CLASS_COUNT}")

    @property
    def point_features(self) -> int:
        """Length of the feature vector of a point: V*F, and V more with a depth per view."""
        return self.view_count * (self.features + int(self.depth_per_view))

    @property
    def align_corners(self) -> bool:
        """The flag of torch's grid_sample that `sampling` stands for."""
        return self.sampling == "published"

    @property
    def feature_map_size(self) -> int:
        """Side of a feature map in pixels (a quarter of the input)."""
        return self.input_size // 4


@dataclass(frozen=True)
class CtNetworkConfig(NetworkConfig):
    """The network from a CT volume to occupancy (teacher of the paper; V-Net + point classifier).

    Attributes:
        input_channels: channels of the volume (1).
        base_filters: channels of the first level of the V-Net; they double at each of four halvings.
        head_features: channels of each of the four output heads, the point features of the CT.
        classifier_hidden: widths of the hidden layers of the point classifier.
        class_count: number of classes, background included.
    """

    input_channels: int
    base_filters: int
    head_features: int
    classifier_hidden: tuple[int, ...]
    class_count: int = field(default=CLASS_COUNT)

    def __post_init__(self) -> None:
        self._require(1 <= self.input_channels <= 16, "input_channels must be 1 to 16")
        self._require(1 <= self.base_filters <= 256, "base_filters must be 1 to 256")
        self._require(1 <= self.head_features <= 2048, "head_features must be 1 to 2048")
        self._require(_widths_hold(self.classifier_hidden), "classifier_hidden must be 1 to 16 widths of 1 to 8192")
        self._require(self.class_count == CLASS_COUNT, f"class_count must be {CLASS_COUNT}")


@dataclass(frozen=True)
class SegmenterConfig(NetworkConfig):
    """The network that finds bone in one radiograph (U-Net), for the bone-enhanced channel.

    Attributes:
        input_channels: channels of the image (1).
        level_features: channels of the levels from full resolution down; each halves the image.
        class_count: number of classes (2: background, bone).
    """

    input_channels: int
    level_features: tuple[int, ...]
    class_count: int

    def __post_init__(self) -> None:
        self._require(1 <= self.input_channels <= 16, "input_channels must be 1 to 16")
        self._require(
            2 <= len(self.level_features) <= 8 and all(1 <= width <= 4096 for width in self.level_features),
            "level_features must be 2 to 8 widths of 1 to 4096",
        )
        self._require(2 <= self.class_count <= 256, "class_count must be 2 to 256")

    @property
    def size_multiple(self) -> int:
        """The sides of an image must be multiples of this."""
        return 2 ** (len(self.level_features) - 1)


def _widths_hold(widths: tuple[int, ...]) -> bool:
    return 1 <= len(widths) <= 16 and all(1 <= width <= 8192 for width in widths)


_FULL_SIZE_XRAY: dict[str, Any] = {
    "input_size": 512,
    "input_channels": 2,
    "view_count": 2,
    "separate_encoders": True,
    "stacks": 4,
    "features": 256,
    "hourglass_depth": 2,
    "stem_features": 64,
    "norm_groups": 32,
    "kd_features": 64,
    "sampling": "published",
}

_XRAY_PRESETS: dict[str, Callable[[], XrayNetworkConfig]] = {
    "paper": lambda: XrayNetworkConfig(**_FULL_SIZE_XRAY, depth_per_view=True, classifier_hidden=(1024, 512, 256, 128)),
    "published": lambda: XrayNetworkConfig(**_FULL_SIZE_XRAY, depth_per_view=False, classifier_hidden=(512, 128)),
    "compact": lambda: XrayNetworkConfig(
        input_size=256,
        input_channels=1,
        view_count=2,
        separate_encoders=True,
        stacks=2,
        features=64,
        hourglass_depth=3,
        stem_features=16,
        norm_groups=8,
        depth_per_view=True,
        classifier_hidden=(256, 128, 64),
        kd_features=64,
        sampling="pixel_centres",
    ),
}

# The paper's CT network and the released one are the same.
_CT_PRESETS: dict[str, Callable[[], CtNetworkConfig]] = {
    "paper": lambda: CtNetworkConfig(1, 16, 64, (128, 256, 128, 64)),
    "published": lambda: CtNetworkConfig(1, 16, 64, (128, 256, 128, 64)),
    "compact": lambda: CtNetworkConfig(1, 8, 64, (128, 64)),
}

_SEGMENTER_PRESETS: dict[str, Callable[[], SegmenterConfig]] = {
    "paper": lambda: SegmenterConfig(1, (64, 128, 256, 512, 1024), 2),
    "published": lambda: SegmenterConfig(1, (64, 128, 256, 512, 1024), 2),
    "compact": lambda: SegmenterConfig(1, (16, 32, 64, 128), 2),
}


def xray_config(preset: str) -> XrayNetworkConfig:
    """The X-ray network of a preset: "paper", "published" or "compact". Raises InputError for another name."""
    return _preset(_XRAY_PRESETS, preset)


def ct_config(preset: str) -> CtNetworkConfig:
    """The CT network of a preset: "paper", "published" or "compact". Raises InputError for another name."""
    return _preset(_CT_PRESETS, preset)


def segmenter_config(preset: str) -> SegmenterConfig:
    """The segmenter of a preset: "paper", "published" or "compact". Raises InputError for another name."""
    return _preset(_SEGMENTER_PRESETS, preset)


def _preset(presets: dict[str, Callable[[], ConfigType]], name: str) -> ConfigType:
    if name not in presets:
        raise InputError(f"There is no network preset {name!r}; use one of {', '.join(PRESETS)}.")
    return presets[name]()


def norm_group_count(channels: int, wanted: int) -> int:
    """The number of groups for a layer of `channels` channels: the largest common divisor with the wanted number."""
    return math.gcd(channels, wanted)
