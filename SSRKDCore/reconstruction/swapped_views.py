"""Whether the AP and the lateral radiograph were given in each other's place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.network_input import NetworkInput
from SSRKDCore.reconstruction.precision import exact_convolutions, rounded_module
from SSRKDCore.reconstruction.sampler import PointSampler

_SAMPLES_A_SIDE = 24
# Checked on simulated training knees, given rightly and exchanged; a warning, so a rare false alarm is cheaper than silence.
_CLEARLY_SURER = 0.95
_MARGIN_OF_CUBE = 0.05
# With the first image in the second one's place too, and few of its pixels, the network is clearly less sure where the order is right, and
# surer where it is not. Between both lies this; below it the full question is asked, so a value too high costs time only.
_CLEARLY_LESS_SURE = 1.25
#: Pixels a side of that image, half the network's own at most: what the bundled model, which reads twice as many, was looked at with. Of a
#: network that reads four times as many a quarter is taken, which tells the two apart with the bundled model as well; none was at hand.
_COARSE_PIXELS = 128
_COARSE_SAMPLES_A_SIDE = 8

WARNING = (
    "The AP and the lateral radiograph look swapped: the model is surer of its answer with the two exchanged. "
    "Check which file is which."
)


def views_look_swapped(
    network: XrayReconstructionNetwork, given: NetworkInput, field_of_view: FieldOfView, features: list[Tensor]
) -> bool:
    """True when the network is clearly surer of itself with the two images exchanged.

    Compares the mean entropy of the class probabilities over a coarse grid of points (24^3) for the images as given and exchanged.
    Only an observation about this network: meant for a warning. Where one image in the other's place, of few pixels and at few points,
    makes the network clearly less sure, which costs an eighth at most, nothing more is asked.

    Parameters
    ----------
    network: a network with two views and an encoder for each; best from `ready_to_encode`, as it made the features.
    given: its input.
    field_of_view: the cube, LPS mm.
    features: feature maps of `given.images`, one a view, on the network's device.

    Returns False for networks whose views share one encoder, or that read another number of views.
    """
    if network.config.view_count != 2 or not network.config.separate_encoders:
        return False
    place, precision = features[0].device, features[0].dtype
    if (
        _coarsening(network.config)
        and unsureness_with_one_exchanged(network, given, field_of_view, features) > _CLEARLY_LESS_SURE
    ):
        return False
    points = _points(field_of_view, _SAMPLES_A_SIDE)
    exchanged, own = (
        _entropy(torch.from_numpy(PointSampler(network, maps, given.views, field_of_view).logits(points)))
        for maps in (encode_images(network, given.images.flip(1), place, precision), features)
    )
    return exchanged < _CLEARLY_SURER * own


def unsureness_with_one_exchanged(
    network: XrayReconstructionNetwork, given: NetworkInput, field_of_view: FieldOfView, features: list[Tensor]
) -> float:
    """How many times as unsure as of the images as given the network is with the first one, of few pixels, in both places.

    Parameters as of `views_look_swapped`.
    """
    points = _points(field_of_view, _COARSE_SAMPLES_A_SIDE)
    second = _first_by_second_encoder(network, given.images, features[0].device, features[0].dtype)
    exchanged, own = (
        _entropy(logits)
        for logits in _queried(network, features[0], [second, features[1]], given.views, field_of_view, points)
    )
    return exchanged / own if own > 0 else 1.0


def _coarsening(config: XrayNetworkConfig) -> int:
    """How many pixels along a side become one of the coarse image: the most that leave it `_COARSE_PIXELS`, two at least, of those with
    which an encoder can halve it as often as it wants to; 0 where there is none.
    """
    most = max(2, config.input_size // _COARSE_PIXELS)
    fitting = [step for step in range(2, most + 1) if config.input_size % (step * 4 * 2**config.hourglass_depth) == 0]
    return max(fitting, default=0)


@torch.inference_mode()
def _first_by_second_encoder(
    network: XrayReconstructionNetwork, images: Tensor, place: torch.device, precision: torch.dtype
) -> Tensor:
    """Feature map that the second view's encoder makes of the first view's image, of few pixels."""
    coarse = functional.avg_pool2d(images[0, :1], _coarsening(network.config))
    image = coarse.to(place, precision).contiguous(memory_format=torch.channels_last)
    with exact_convolutions():
        maps: list[Tensor] = rounded_module(network.encoders[1], precision)(image)
    return maps[-1]


def _points(field_of_view: FieldOfView, samples: int) -> NDArray[np.float64]:
    low, high = field_of_view.bounds
    margin = _MARGIN_OF_CUBE * field_of_view.size
    axes = [np.linspace(low[i] + margin, high[i] - margin, samples) for i in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@torch.inference_mode()
def _queried(
    network: XrayReconstructionNetwork, first: Tensor, second: Sequence[Tensor], views: Sequence[View], field_of_view: FieldOfView,
    points: NDArray[np.float64],
) -> list[Tensor]:  # fmt: skip
    """Logits (N, classes) on the CPU with each of several maps of the second view beside the one of the first: for few points, without the
    tables of a `PointSampler`, and in the maps' precision throughout, which is enough for a mean entropy.
    """
    center = np.array([field_of_view.center])
    coordinates, depths = [], []
    for view in views:
        pixels, depth = view.project(points)
        coordinates.append(normalised_coordinates(pixels, view.rows, view.columns))
        depths.append((depth - view.project(center)[1]) / (field_of_view.size / 2))
    place, precision = first.device, first.dtype
    at, deep = (torch.from_numpy(np.stack(part)[None].astype(np.float32)).to(place) for part in (coordinates, depths))
    given = deep if network.config.depth_per_view else None
    whole = first.float()
    features = [network.point_features([whole, other.float()], at, given) for other in second]
    logits = rounded_module(network.classifier, precision)(torch.cat(features).to(precision))
    return [part.t().float().cpu() for part in logits]


def _entropy(logits: Tensor) -> float:
    """Mean entropy of the class probabilities."""
    return float(torch.distributions.Categorical(logits=logits).entropy().mean())
