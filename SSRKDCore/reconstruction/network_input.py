"""From calibrated radiographs to the images a network reads, and the views of those images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.network_view import network_view, resample_to_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.standardise import standardise
from SSRKDCore.radiographs.style_matching import StyleReference
from SSRKDCore.reconstruction.matched_style import check_look, matched
from SSRKDCore.reconstruction.precision import DEFAULT_PRECISION
from SSRKDCore.reconstruction.style_transfer import check_style, precision_of_style, translated
from SSRKDCore.side_by_side import side_by_side

#: Models are trained with the views in this order; views of other names keep the order of the rig.
VIEW_ORDER = ("ap", "lateral")
_BONE_CLASS = 1


@dataclass(frozen=True)
class NetworkInput:
    """What a network reads.

    Attributes
    ----------
    images: [1, V, C, S, S] float32, on the CPU; with two channels the bone-enhanced image comes first.
    views: the view of each image, in the order of `images`: points are projected through these.
    matched: names of the views that matching to a style reference changed.
    """

    images: Tensor
    views: tuple[View, ...]
    matched: tuple[str, ...] = ()


def prepare_network_input(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    model: Model,
    style: Model | None = None,
    look: StyleReference | None = None,
    precision: str = DEFAULT_PRECISION,
) -> NetworkInput:
    """Resample, standardise and, where the model wants it, bone-enhance the radiographs of a rig.

    Each image shows the field of view, upright, at the model's input size (`geometry.network_view`); what the detector
    did not see is 0. With the "published" rig the image is the whole detector instead, as the released networks were
    trained.

    Parameters
    ----------
    radiographs: one a view of the rig, in its order.
    rig: the views and the field of view, LPS mm.
    model: an X-ray reconstruction model.
    style: a style model that gives the standardised images the look of simulated ones first; None leaves them.
    look: a style reference that grey values and fineness are matched to first; None leaves them.
    precision: "float32" or "bfloat16", in which the style model looks at images where its device computes in it (see precision).

    Raises InputError when the numbers of radiographs, views and network inputs differ, an image has not its view's
    size, holds no contrast or non-finite values, the field of view is outside a detector, both a style model and a
    reference are given, one of them does not fit the model, or the style model moves edges.
    """
    config = xray_config_of(model)
    if style is not None and look is not None:
        raise InputError("--style and --match-style both change how the images look: leave one of them out.")
    if style is not None:
        check_style(style, model.standardisation, model.name)
    if look is not None:
        check_look(look, model.standardisation, config.input_size, model.name)
        if config.input_channels == 2:
            segmenter = model.require_segmenter()
            check_look(look, segmenter.standardisation, config.input_size, segmenter.name)
    if len(radiographs) != len(rig.views):
        raise InputError(
            f"There are {len(radiographs)} radiographs for {len(rig.views)} views of the rig: give one a view."
        )
    if len(rig.views) != config.view_count:
        raise InputError(
            f"The model '{model.name}' reads {config.view_count} views and the rig has {len(rig.views)}: "
            "use another model, or a rig with that many views."
        )
    order = view_order(rig)
    views = [target_view(rig.views[index], rig, config.input_size) for index in order]

    def seen(index: int, target: View) -> tuple[NDArray[np.float32], bool]:
        """Channels of a view, and whether its look was changed."""
        view, radiograph = rig.views[index], radiographs[index]
        what = Path(radiograph.source_path).name or f"The radiograph of view '{view.name}'"
        resampled, coverage = resampled_radiograph(radiograph, view, target, what)
        is_other = False
        if look is not None:
            resampled, is_other = matched(resampled, coverage, look, what)
        return _image(resampled, coverage, model, what, style, precision), is_other

    jobs = [partial(seen, index, target) for index, target in zip(order, views, strict=True)]
    images, others = zip(*side_by_side(jobs, torch.get_num_threads()), strict=True)
    changed = [rig.views[index].name for index, is_other in zip(order, others, strict=True) if is_other]
    return NetworkInput(torch.from_numpy(np.stack(images)[None]), tuple(views), tuple(changed))


def xray_config_of(model: Model) -> XrayNetworkConfig:
    """The architecture of an X-ray reconstruction model. Raises InputError for a model of another kind."""
    if not isinstance(model.config, XrayNetworkConfig):
        raise InputError(
            f"The model '{model.name}' is of kind {model.kind}, and radiographs need one of kind xray: name another model."
        )
    return model.config


def view_order(rig: Rig) -> list[int]:
    """Indices of the rig's views in the order in which networks read them."""
    names = [view.name for view in rig.views]
    return sorted(
        range(len(names)), key=lambda i: (VIEW_ORDER.index(names[i]) if names[i] in VIEW_ORDER else len(VIEW_ORDER), i)
    )


def target_view(view: View, rig: Rig, size: int) -> View:
    """What a network sees of a view: the field of view, or with the "published" rig the whole detector."""
    if rig.provenance.get("preset") == "published":
        return view.resampled(size, size)
    return network_view(view, rig.field_of_view, size)


def resampled_radiograph(
    radiograph: Radiograph, view: View, target: View, what: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Line integrals (S, S) of a network view, not standardised yet, and its coverage (S, S).

    what: how messages call the radiograph. Raises InputError as `prepare_network_input` does.
    """
    pixels = radiograph.pixels
    if pixels.shape != (view.rows, view.columns):
        raise InputError(
            f"{what} has {pixels.shape[0]} x {pixels.shape[1]} pixels and view '{view.name}' of the rig {view.rows} x {view.columns}: "
            "use the rig of these images."
        )
    if not np.isfinite(pixels).all():
        raise InputError(f"{what} holds values that are not finite: export the image again.")
    resampled, coverage = resample_to_view(pixels, view, target)
    if radiograph.coverage is not None:
        coverage, _ = resample_to_view(radiograph.coverage.astype(np.float32), view, target)
    if not (coverage >= 0.5).any():
        raise InputError(f"The detector of view '{view.name}' sees nothing of the field of view: correct the rig.")
    return resampled, coverage


def _image(
    resampled: NDArray[np.float32], coverage: NDArray[np.float32], model: Model, what: str, style: Model | None, precision: str
) -> NDArray[np.float32]:  # fmt: skip
    """Channels (C, S, S) of one view."""

    def read(reader: Model) -> NDArray[np.float32]:
        image = _standardised(resampled, coverage, reader.input, what)
        return (
            image if style is None else translated(image, coverage, style, what, precision_of_style(style, precision))
        )

    plain = read(model)
    channels = [plain]
    if xray_config_of(model).input_channels == 2:
        segmenter = model.require_segmenter()
        # The style model is asked once, and fits only images that are standardised as the model's.
        if style is not None:
            check_style(style, segmenter.standardisation, segmenter.name)
        alike = segmenter.standardisation == model.standardisation
        bone = _bone_mask((plain if alike else read(segmenter)) * segmenter.input.intensity_scale, segmenter)
        weight = model.input.background_weight
        channels.insert(0, plain * (bone + weight * (1.0 - bone)))
    return np.stack(channels).astype(np.float32) * np.float32(model.input.intensity_scale)


def _standardised(
    image: NDArray[np.float32], coverage: NDArray[np.float32], model_input: ModelInput, what: str
) -> NDArray[np.float32]:
    if not model_input.standardisation:
        return image
    try:
        return standardise(image, coverage, model_input.standardisation)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


@torch.inference_mode()
def _bone_mask(image: NDArray[np.float32], segmenter: Model) -> NDArray[np.float32]:
    """1 where the segmenter sees bone, else 0; the shape of the image (S, S)."""
    network = segmenter.network
    device = next(network.parameters()).device
    multiple = int(getattr(segmenter.config, "size_multiple", 1))
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % multiple), (0, -columns % multiple)))
    logits = network(torch.from_numpy(np.ascontiguousarray(padded))[None, None].to(device))
    return (logits[0].argmax(dim=0) == _BONE_CLASS).float().cpu().numpy()[:rows, :columns]
