"""Do two radiographs make a pair: one patient, one knee, two different views, in the right places?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.view_words import view_from_words


def check_pair(ap: Radiograph, lateral: Radiograph, allow_different_patients: bool = False) -> list[str]:
    """Check that an AP and a lateral radiograph belong together.

    Parameters
    ----------
    ap, lateral: the two images, as the user assigned them.
    allow_different_patients: turn a disagreement of patient IDs into a warning (anonymised exports may rename each
        file).

    Returns warnings in words. Raises InputError for the same image twice, and for patients or sides that disagree.
    """
    if _same_file(ap.source_path, lateral.source_path):
        raise InputError(f"{ap.source_path} was given for both views: give one AP and one lateral radiograph.")
    if ap.pixels.shape == lateral.pixels.shape and np.array_equal(ap.pixels, lateral.pixels):
        raise InputError(
            f"{ap.source_path} and {lateral.source_path} hold the same image: give one AP and one lateral radiograph."
        )
    warnings = []
    if ap.patient_id and lateral.patient_id and ap.patient_id.strip() != lateral.patient_id.strip():
        message = (
            f"{ap.source_path} and {lateral.source_path} are of different patients ('{ap.patient_id}' and "
            f"'{lateral.patient_id}')"
        )
        if not allow_different_patients:
            raise InputError(f"{message}: give two radiographs of one patient.")
        warnings.append(message + ".")
    if ap.side and lateral.side and ap.side != lateral.side:
        raise InputError(
            f"{ap.source_path} is a {ap.side} knee and {lateral.source_path} a {lateral.side} one: give "
            "two radiographs of one knee."
        )
    stated = [view_from_words(image.geometry.view_position) if image.geometry else None for image in (ap, lateral)]
    if stated == ["lateral", "ap"]:
        warnings.append("The AP and the lateral radiograph look swapped: each file says that it is the other view.")
    elif stated[0] == "lateral":
        warnings.append(f"{ap.source_path} was given as the AP view, and the file says that it is a lateral one.")
    elif stated[1] == "ap":
        warnings.append(
            f"{lateral.source_path} was given as the lateral view, and the file says that it is a frontal one."
        )
    return warnings


def _same_file(first: str, second: str) -> bool:
    if not first or not second:
        return False
    try:
        return Path(first).samefile(second)
    except OSError:
        return first == second
