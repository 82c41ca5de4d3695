"""Whether the AP and the lateral radiograph were given in each other's place."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.network_input import NetworkInput
from SSRKDCore.reconstruction.sampler import PointSampler

_SAMPLES_A_SIDE = 24
# Checked on simulated training knees, given rightly and exchanged; a warning, so a rare false alarm is cheaper than silence.
_CLEARLY_SURER = 0.95
_MARGIN_OF_CUBE = 0.05

WARNING = (
    "The AP and the lateral radiograph look swapped: the model is surer of its answer with the two exchanged. "
    "Check which file is which."
)


def views_look_swapped(
    network: XrayReconstructionNetwork, given: NetworkInput, field_of_view: FieldOfView, features: list[Tensor]
) -> bool:
    """True when the network is clearly surer of itself with the two images exchanged.

    Compares the mean entropy of the class probabilities over a coarse grid of points (24^3) for the images as given and exchanged.
    Only an observation about this network: meant for a warning.

    Parameters
    ----------
    network: a network with two views and an encoder for each.
    given: its input.
    field_of_view: the cube, LPS mm.
    features: feature maps of `given.images`, one a view, on the network's device.

    Returns False for networks whose views share one encoder, or that read another number of views.
    """
    if network.config.view_count != 2 or not network.config.separate_encoders:
        return False
    low, high = field_of_view.bounds
    margin = _MARGIN_OF_CUBE * field_of_view.size
    axes = [np.linspace(low[i] + margin, high[i] - margin, _SAMPLES_A_SIDE) for i in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    exchanged = encode_images(network, given.images.flip(1), features[0].device, features[0].dtype)

    def entropy(maps: list[Tensor]) -> float:
        logits = torch.from_numpy(PointSampler(network, maps, given.views, field_of_view).logits(points))
        return float(torch.distributions.Categorical(logits=logits).entropy().mean())

    return entropy(exchanged) < _CLEARLY_SURER * entropy(features)
