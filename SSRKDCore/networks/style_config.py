"""The architecture of a style network as a small frozen configuration. No torch is needed here."""

from __future__ import annotations

from dataclasses import dataclass

from SSRKDCore.errors import InputError
from SSRKDCore.networks.config import NetworkConfig

STYLE_PRESETS = ("paper", "compact")


@dataclass(frozen=True)
class StyleConfig(NetworkConfig):
    """The network that gives a real radiograph the look of a simulated one.

    Attributes:
        image_size: side of the square image that it was trained for, pixels; others are brought to it.
        features: channels at full resolution; they double at each halving, up to four times as many.
        halvings: how often the image is halved before a place's curve is chosen.
        blocks: residual blocks at the lowest resolution.
        knots: of a curve of tones, evenly from -3 to 3.
        norm_groups: groups of the group normalisation.
    """

    image_size: int
    features: int
    halvings: int
    blocks: int
    knots: int
    norm_groups: int

    def __post_init__(self) -> None:
        self._require(1 <= self.halvings <= 6, "halvings must be 1 to 6")
        self._require(
            16 <= self.image_size <= 4096 and self.image_size % self.size_multiple == 0,
            f"image_size must be 16 to 4096 and a multiple of {self.size_multiple}",
        )
        self._require(2 <= self.features <= 512, "features must be 2 to 512")
        self._require(1 <= self.blocks <= 32, "blocks must be 1 to 32")
        self._require(3 <= self.knots <= 129, "knots must be 3 to 129")
        self._require(1 <= self.norm_groups <= 256, "norm_groups must be 1 to 256")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels from full resolution down."""
        return tuple(self.features * min(2**level, 4) for level in range(self.halvings + 1))

    @property
    def size_multiple(self) -> int:
        """The sides of an image must be multiples of this."""
        return int(2**self.halvings)


def style_config(preset: str) -> StyleConfig:
    """The style network of a preset: "paper" (512 pixels, for a GPU) or "compact" (256, for a CPU).

    Raises InputError for another name.
    """
    if preset == "paper":
        return StyleConfig(image_size=512, features=32, halvings=5, blocks=4, knots=25, norm_groups=8)
    if preset == "compact":
        return StyleConfig(image_size=256, features=12, halvings=4, blocks=2, knots=13, norm_groups=4)
    raise InputError(f"There is no style network {preset!r}: use {' or '.join(STYLE_PRESETS)}.")
