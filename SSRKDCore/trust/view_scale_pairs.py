"""Pairs of radiographs of training cases in many rooms, as rows that show the same slices: what `fit_view_scales` learns from.

A quarter of the pairs is as the reference sees training cases, plain or after training's changes (`training_images`). Others are exposed
by physics in the rooms of `other_rooms`, or in such a room with a maker's display curve behind it, as most images are stored; half of them
show both views in one room, half each in its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.epipolar_rows import rows_of_both
from SSRKDCore.npz_files import read_arrays, write_arrays
from SSRKDCore.radiographs.presentation_curve import PresentationCurve
from SSRKDCore.training.augmentation import Augmentation
from SSRKDCore.training.case_volume import CaseVolume, load_case_volume
from SSRKDCore.training.domain_randomisation import DomainRandomisation
from SSRKDCore.trust.other_rooms import ROOMS, exposed_in_rooms
from SSRKDCore.trust.training_images import TrainingExposure, exposure_of_volume

Progress = Callable[[float, str], None]

#: What images look like, and how often.
LOOKS = {"plain": 0.1, "changed": 0.15, "usual room": 0.3, "bad room": 0.15, "display": 0.3}
#: More of the leg than is looked at, for what is moved and stretched: mm from the field of view's centre.
STORED_HEIGHTS_MM = np.arange(-132.0, 132.1, 1.0)
STORED_ACROSS_MM = np.arange(-140.0, 140.1, 1.0)
_DISPLAYED_ROOM = DomainRandomisation(
    collimation_share=0.0,
    wire_share=0.1,
    other_leg_share=0.05,
    cast_share=0.03,
    table_share=0.05,
    display=Augmentation(curve_share=0.0, contrast_share=0.0),
)
_ONE_ROOM_SHARE = 0.5
_LARGEST_FILE = 256 * 1024 * 1024


@dataclass(frozen=True)
class ViewPairs:
    """Pairs in memory.

    rows: (N, 2, H, W) float16 at STORED_HEIGHTS_MM and STORED_ACROSS_MM, mean 0 and deviation 1, NaN outside the images. looks: (N,) of
    LOOKS. cases: (N,) names.
    """

    rows: NDArray[np.float16]
    looks: NDArray[np.str_]
    cases: NDArray[np.str_]


def view_pairs(
    folders: Sequence[Path],
    count: int,
    work: Path,
    seed: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ViewPairs:
    """`count` pairs of each training case.

    Parameters
    ----------
    folders: of labelled cases with CTs. work: keeps what is made of each case: the same call goes on from there. seed: of rooms and images.

    Raises InputError for unusable cases; Cancelled.
    """
    rows, looks = [], []
    for index, folder in enumerate(folders):
        if cancelled is not None and cancelled():
            raise Cancelled("Making pairs was cancelled.")
        if progress is not None:
            progress(index / len(folders), f"pairs of {folder.name} ({index + 1} of {len(folders)})")
        file = work / f"{folder.name}-{seed}-{index}-{count}.npz"
        if not file.is_file():
            made = _pairs_of(folder, count, np.random.default_rng([seed, index]))
            write_arrays(file, made)
        kept = read_arrays(file, "pairs of a training case", "delete it and call again", _LARGEST_FILE)
        if kept.get("rows", np.zeros(0)).shape != (count, 2, len(STORED_HEIGHTS_MM), len(STORED_ACROSS_MM)):
            raise InputError(f"{file} does not hold {count} pairs: delete it and call again.")
        rows.append(kept["rows"])
        looks.append(kept["looks"])
    cases = np.repeat([folder.name for folder in folders], count)
    return ViewPairs(np.concatenate(rows), np.concatenate(looks), cases)


def _pairs_of(folder: Path, count: int, generator: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    volume = load_case_volume(folder, True)
    looks = generator.choice(list(LOOKS), count, p=list(LOOKS.values()))
    return {"rows": np.stack([_pair(volume, str(look), generator) for look in looks]), "looks": looks}


def _pair(volume: CaseVolume, look: str, generator: np.random.Generator) -> NDArray[np.float16]:
    """(2, H, W) of an exposure in a random rig."""
    exposure = exposure_of_volume(volume, generator, changed=look == "changed")
    if look not in ("plain", "changed"):
        exposure = _in_a_room(exposure, volume, look, generator)
    views, center = exposure.rig.views, np.array(exposure.rig.field_of_view.center)
    both = []
    images = [radiograph.pixels for radiograph in exposure.radiographs]
    for rows in rows_of_both(images, views, center, STORED_HEIGHTS_MM, STORED_ACROSS_MM):
        spread = float(np.nanstd(rows))
        both.append((rows - np.nanmean(rows)) / (spread if spread > 0 else 1.0))
    return np.stack(both).astype(np.float16)


def _in_a_room(
    exposure: TrainingExposure, volume: CaseVolume, look: str, generator: np.random.Generator
) -> TrainingExposure:
    """The exposure in a room of that look, or in one for each view."""
    rooms = {"usual room": ROOMS[0], "bad room": ROOMS[1], "display": _DISPLAYED_ROOM}
    seeds = generator.integers(2**31, size=2)
    if generator.random() < _ONE_ROOM_SHARE:
        seeds[1] = seeds[0]
    curve = PresentationCurve(
        centre=generator.uniform(1.4, 3.0),
        width=generator.uniform(1.8, 5.0),
        local_contrast=generator.uniform(0.0, 1.2) if generator.random() < 0.8 else 0.0,
    )
    shown = exposed_in_rooms(exposure, volume, rooms[look], [int(seed) for seed in seeds])
    if look != "display":
        return shown
    first, second = (replace(image, pixels=curve.applied(image.pixels)) for image in shown.radiographs)
    return replace(shown, radiographs=(first, second))
