"""A radiograph before and after translation, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SSRKDCore.image_files import write_image


def write_before_and_after(path: Path, before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
    """Write two standardised images (S, S) as one grey PNG, both on the scale of -2 to 2, bone bright."""
    both = np.concatenate([before, after], axis=1)
    grey = np.clip((both + 2) / 4 * 255, 0, 255).astype(np.uint8)
    write_image(path, sitk.GetImageFromArray(grey))
