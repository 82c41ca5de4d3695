"""What the remedies' cost is measured on: the sample's radiographs as networks read them, and as trust looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.networks.style_config import style_config
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.network_input import NetworkInput, resampled_radiograph, target_view
from SSRKDCore.reconstruction.precision import choose_precision, supported_precisions
from SSRKDCore.reconstruction.sampler import PointSampler
from SSRKDCore.trust.case_measures import Encoded


@dataclass(frozen=True)
class NetworkViews:
    """Network views of radiographs at one size, and a style network for them.

    Attributes
    ----------
    images: (S, S) line integrals, coverage, standardised, of each. views: theirs.
    """

    images: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]
    views: tuple[View, ...]
    style: Model


@dataclass(frozen=True)
class TrustScene:
    """What trust is asked of at full size: radiographs of many pixels and their rig, and a large network.

    Attributes
    ----------
    encoded: by precision, what the network makes of the same radiographs, with its tables.
    """

    radiographs: list[Radiograph]
    rig: Rig
    model: Model
    encoded: dict[str, Encoded]


def network_views(shown: Sequence[Radiograph], rig: Rig, size: int, preset: str) -> NetworkViews:
    """The radiographs of a rig's views as networks of `size` pixels read them; `preset` names the style network's size."""
    config = style_config(preset if preset in ("paper", "compact") else "paper")
    style = Model(
        build_network(config).eval(), config, "style", preset, Path(), {}, ModelInput(standardisation=dict(ROBUST))
    )
    targets = tuple(target_view(view, rig, size) for view in rig.views)
    images = []
    for radiograph, view, target in zip(shown, rig.views, targets, strict=True):
        image, coverage = resampled_radiograph(radiograph, view, target, view.name)
        images.append((image, coverage, standardise(image, coverage, ROBUST)))
    return NetworkViews(images, targets, style)


def trust_scene(
    shown: Sequence[Radiograph], rig: Rig, pixels: int, views: NetworkViews, architecture: str, device: torch.device
) -> TrustScene:
    """The radiographs enlarged to `pixels` a side, and the network of an architecture with weights as they come."""
    from scipy.ndimage import zoom

    wide = replace(rig, views=tuple(view.resampled(pixels, pixels) for view in rig.views))
    enlarged = [
        replace(radiograph, pixels=zoom(radiograph.pixels, np.divide(pixels, radiograph.pixels.shape), order=1))
        for radiograph in shown
    ]
    config = xray_config(architecture)
    network = cast(XrayReconstructionNetwork, build_network(config).eval().to(device))
    channels = [np.stack([image] * config.input_channels) for _, _, image in views.images]
    given = NetworkInput(torch.from_numpy(np.stack(channels)[None]), views.views)
    encoded = {}
    for precision in supported_precisions(device):
        maps = encode_images(network, given.images, device, choose_precision(precision, device))
        encoded[precision] = Encoded(given, maps, PointSampler(network, maps, given.views, rig.field_of_view).tables)
    return TrustScene(enlarged, wide, Model(network, config, "xray", architecture, Path(), {}, ModelInput()), encoded)
