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
    warnings = check_same_knee(ap, lateral, allow_different_patients)
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


def check_same_knee(first: Radiograph, second: Radiograph, allow_different_patients: bool = False) -> list[str]:
    """Check that two radiographs, of whatever views, are two and of one knee; parameters and answer as of `check_pair`."""
    if _same_file(first.source_path, second.source_path):
        raise InputError(f"{first.source_path} was given for both views: give two different radiographs.")
    if first.pixels.shape == second.pixels.shape and np.array_equal(first.pixels, second.pixels):
        raise InputError(
            f"{first.source_path} and {second.source_path} hold the same image: give two different radiographs."
        )
    warnings = []
    if first.patient_id and second.patient_id and first.patient_id.strip() != second.patient_id.strip():
        message = (
            f"{first.source_path} and {second.source_path} are of different patients ('{first.patient_id}' and "
            f"'{second.patient_id}')"
        )
        if not allow_different_patients:
            raise InputError(f"{message}: give two radiographs of one patient.")
        warnings.append(message + ".")
    if first.side and second.side and first.side != second.side:
        raise InputError(
            f"{first.source_path} is a {first.side} knee and {second.source_path} a {second.side} one: give "
            "two radiographs of one knee."
        )
    return warnings


def _same_file(first: str, second: str) -> bool:
    if not first or not second:
        return False
    try:
        return Path(first).samefile(second)
    except OSError:
        return first == second
