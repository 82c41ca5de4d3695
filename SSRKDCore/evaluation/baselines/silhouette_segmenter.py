"""Bone as a trained segmenter of SSR-KD sees it in a radiograph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.networks.model_folder import Model
from SSRKDCore.radiographs.standardise import standardise

_BONE_CLASS = 1


@torch.inference_mode()
def bone_share(image: NDArray[np.float32], coverage: NDArray[np.float32], segmenter: Model) -> NDArray[np.float32]:
    """(rows, columns) 0..1: how sure the segmenter is of bone in an image (rows, columns) of line integrals.

    The image shows the field of view, as `network_view` frames it. Raises InputError when the image has no contrast.
    """
    settings = segmenter.input
    ready = standardise(image, coverage, settings.standardisation) if settings.standardisation else image
    multiple = int(getattr(segmenter.config, "size_multiple", 1))
    rows, columns = image.shape
    padded = np.pad(ready * settings.intensity_scale, ((0, -rows % multiple), (0, -columns % multiple)))
    device = next(segmenter.network.parameters()).device
    logits = segmenter.network(torch.from_numpy(np.ascontiguousarray(padded, dtype=np.float32))[None, None].to(device))
    return np.asarray(logits[0].softmax(dim=0)[_BONE_CLASS].cpu().numpy()[:rows, :columns])
