"""A style model between standardisation and reconstruction: applied, and refused where it moved edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.networks.style_config import StyleConfig
from SSRKDCore.networks.style_network import StyleNetwork
from SSRKDCore.radiographs.standardise import standardise
from SSRKDCore.reconstruction.edge_displacement import EdgeDisplacement, edge_displacement
from SSRKDCore.reconstruction.precision import DEFAULT_PRECISION, PRECISIONS, rounded_module, supported_precisions

#: The word that leaves style transfer out.
NO_STYLE = "none"
#: In the record of a style model's images: why it must not be used.
REFUSED_ENTRY = "refused"


def load_style(path_or_name: str | None) -> Model | None:
    """The style model of an option: a model folder, or None for None and "none".

    Raises InputError for another kind, and for a model that its own training refused.
    """
    if path_or_name is None or path_or_name == NO_STYLE:
        return None
    style = load_model(path_or_name)
    style_config_of(style)
    training = style.card.get("training")
    images = training.get("images") if isinstance(training, Mapping) else None
    refused = images.get(REFUSED_ENTRY) if isinstance(images, Mapping) else None
    if refused:
        raise InputError(
            f"The style model '{style.name}' is not to be used, for {refused}: train another, or use --style none."
        )
    return style


def style_config_of(style: Model) -> StyleConfig:
    """The architecture of a style model. Raises InputError for a model of another kind."""
    if not isinstance(style.config, StyleConfig):
        raise InputError(f"The model '{style.name}' is of kind {style.kind}, not style: name a style model, or none.")
    return style.config


def check_style(style: Model, standardisation: Mapping[str, Any], reader: str) -> None:
    """Raises InputError when a style model reads images that are standardised in another way than a model's."""
    style_config_of(style)
    if dict(style.standardisation) != dict(standardisation):
        raise InputError(
            f"The style model '{style.name}' and the model '{reader}' standardise images in different ways: train the"
            " style model again for it, or leave it out with --style none."
        )


def precision_of_style(style: Model, precision: str) -> torch.dtype:
    """The precision that was asked for (see `precision`), where the style network's device has it; else float32."""
    device = next(style.network.parameters()).device
    return PRECISIONS[precision if precision in supported_precisions(device) else DEFAULT_PRECISION]


def translated(
    image: NDArray[np.float32],
    coverage: NDArray[np.float32],
    style: Model,
    what: str,
    precision: torch.dtype = torch.float32,
) -> NDArray[np.float32]:
    """A standardised image (S, S) in the style of simulated ones; 0 where the detector did not see.

    precision: of what the network looks at; what it does to the image is float32.

    Raises InputError when edges moved, vanished or appeared (see `edge_displacement`): the rig would no longer fit.
    """
    result, moved = translation(image, coverage, style, precision)
    if not moved.kept:
        raise InputError(
            f"{what}: the style model '{style.name}' moved edges by up to {moved.largest:.1f} pixels and changed"
            f" {100 * moved.lost_share:.0f} % of them beyond recognition, so its image cannot be used: leave it out with"
            " --style none."
        )
    return result


def translation(
    image: NDArray[np.float32], coverage: NDArray[np.float32], style: Model, precision: torch.dtype = torch.float32
) -> tuple[NDArray[np.float32], EdgeDisplacement]:
    """As `translated`, with what became of the edges instead of a refusal."""
    seen = coverage >= 0.5
    change = _correction(image, style, precision)
    result = image
    if change.any():
        # Every image that networks read has one median and one range, which a translation must not take from it.
        moved = np.where(seen, image + change, 0.0).astype(np.float32)
        result = standardise(moved, coverage, style.standardisation) if style.standardisation else moved
    return result, edge_displacement(image.astype(np.float64), result.astype(np.float64), seen)


@torch.inference_mode()
def _correction(image: NDArray[np.float32], style: Model, precision: torch.dtype) -> NDArray[np.float32]:
    """What the network adds to the image, at the image's own size; it looks at the size that it was trained for."""
    size = style_config_of(style).image_size
    device = next(style.network.parameters()).device
    given = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None].to(device)
    resized = given
    if given.shape[-2:] != (size, size):
        resized = functional.interpolate(given, (size, size), mode="bilinear", align_corners=False, antialias=True)
    if precision == torch.float32:
        change = style.network(resized) - resized
    else:
        network = cast(StyleNetwork, style.network)
        deepest = rounded_module(network, precision).levels(resized.to(precision))[-1]
        change = network(resized, deepest) - resized
    if change.shape != given.shape:
        change = functional.interpolate(change, given.shape[-2:], mode="bilinear", align_corners=False)
    return change[0, 0].float().cpu().numpy()
