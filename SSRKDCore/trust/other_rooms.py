"""Training cases as rooms would show them that the reference does not count as usual: for what trust says of unusual images.

Both images of a case come from one room of `training.domain_randomisation`, in all its ranges but for collimators, whose shadow reading
leaves out: tube, scatter, grid, detector, dose, cables, casts, display. The reference knows milder changes (`training.augmentation`). A
network that was trained in many rooms errs less in these, and that is what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.training.augmentation import Augmentation
from SSRKDCore.training.case_volume import CaseVolume, bone_shadow, load_case_volume
from SSRKDCore.training.domain_randomisation import DomainRandomisation, randomise_domain
from SSRKDCore.trust.reference import TrustReference
from SSRKDCore.trust.training_images import FIELD_PIXELS, TrainingExposure, exposure_of_volume
from SSRKDCore.trust.training_observation import measured, vertex_errors

#: Ranges of the rooms, which take turns: those of training with "physics", and others that go further on the bad side, for images that no
#: training should promise to hold for. Both without collimators. The second are a guess at what passes for a radiograph.
ROOMS = (
    DomainRandomisation(collimation_share=0.0),
    DomainRandomisation(
        collimation_share=0.0,
        scatter_per_cm=(0.06, 0.2),
        grid_share=0.3,
        half_per_mm=(0.3, 1.2),
        focal_spot_mm=(0.6, 2.5),
        photons=(5e2, 5e4),
        electronic=(0.0, 60.0),
        display=Augmentation(
            curve_share=0.9,
            curve_low=(0.0, 0.5),
            curve_high=(0.7, 1.0),
            gamma=(0.4, 2.5),
            contrast_share=0.5,
            contrast=(0.3, 2.0),
        ),
    ),
)


def exposure_in_another_room(volume: CaseVolume, seed: int, index: int, room: int) -> TrainingExposure:
    """Radiographs of a training case in a random room.

    Parameters
    ----------
    volume: the case in memory. seed, index, room: of all randomness: of the fit, of the case, of its rooms.
    """
    exposure = exposure_of_volume(volume, np.random.default_rng([seed, index, room]), changed=False)
    state = int(np.random.SeedSequence([seed, index, room]).generate_state(1)[0])
    # The same numbers for both views: one room.
    return exposed_in_rooms(exposure, volume, ROOMS[room % len(ROOMS)], (state, state))


def exposed_in_rooms(
    exposure: TrainingExposure, volume: CaseVolume, ranges: DomainRandomisation, seeds: Sequence[int]
) -> TrainingExposure:
    """A plain exposure of a training case as rooms would have shown it, drawn from `ranges` by one seed a view.

    exposure: line integrals, of `volume`.
    """
    images = []
    for radiograph, view, seed in zip(exposure.radiographs, exposure.rig.views, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.from_numpy(radiograph.pixels)[None]
        mask = torch.from_numpy(bone_shadow(exposure.bones, volume.scanned_box(), view))[None]
        pixel_mm = exposure.rig.field_of_view.size / FIELD_PIXELS
        changed, _ = randomise_domain(pixels, generator, pixel_mm, mask, ranges)
        images.append(replace(radiograph, pixels=changed[0].numpy()))
    return replace(exposure, radiographs=tuple(images), changed=True)


def room_observation(
    folder: Path, model: Model, reference: TrustReference, seed: int, index: int, room: int, device: str = "cpu"
) -> dict[str, Any]:
    """What is kept of a training case in another room, plain values: "case", "room", "strangeness" (see `TrustReference`), and by bone
    "terms" and "errors" of vertices; "refused" instead of these, in words, where no reconstruction came out.

    folder: a case with a CT and a reference. Other parameters as of `exposure_in_another_room`.
    """
    volume = load_case_volume(folder, True)
    exposure = exposure_in_another_room(volume, seed, index, room)
    record: dict[str, Any] = {"case": folder.name, "room": room}
    try:
        result, measures = measured(
            exposure.radiographs, exposure.rig, exposure.side, model, device, reference.needed_terms
        )
    except InputError as error:
        return {**record, "refused": str(error)}
    return {
        **record,
        "strangeness": reference.strangeness(measures),
        "terms": measures.terms,
        "errors": vertex_errors(measures, result, exposure.bones),
    }
