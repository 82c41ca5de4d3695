"""What a surface correction does to people whom the shape prior does not know: knees of the prior's own kind do not tell.

The people are those of `trust.left_out_people`, left out of the prior one at a time, their legs exposed with the density model of
`ssrkd radiograph`, which is not the training's. Network and correction have seen knees drawn from the whole shape model, these people's
shapes among them. Nothing is learnt from these legs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from SSRKDCore.cases import find_cases, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.population.bone_sources import read_bone_sources
from SSRKDCore.refinement.anchor_features import Anchors, anchor_features
from SSRKDCore.refinement.shape_prior import shape_prior_of
from SSRKDCore.training.correction_examples import Examples, errors_at_anchors, placed_bones
from SSRKDCore.training.test_sets import unseen_legs
from SSRKDCore.trust.left_out_people import model_without, people_to_leave_out, scored_heights
from SSRKDCore.trust.training_observation import case_images

Progress = Callable[[float, str], None]


def people_examples(
    model: Model,
    anchors: Mapping[str, Anchors],
    data: Path,
    work: Path,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Examples]:
    """Examples by bone, of the people's legs in each rig of `unseen_legs`; `looks` are the people.

    Parameters
    ----------
    model: an X-ray model with a shape prior. anchors: by bone. data: the anatomy folder that it was made from.
    work: folder that keeps registrations, priors and cases.

    Raises InputError, Cancelled.
    """
    people = people_to_leave_out(model, data)
    rows: dict[str, list[tuple[np.ndarray, np.ndarray, str, str]]] = {name: [] for name in anchors}
    for index, person in enumerate(people):
        usable = {source.name: source.usable_to for source in read_bone_sources(data) if source.subject == person}
        prior = shape_prior_of(model_without(model, person, data, work))
        sets = unseen_legs(data, [person], work / "cases" / person)
        jobs = [folder for group in sets for folder in find_cases(group.folder)]
        for place, folder in enumerate(jobs):
            if cancelled is not None and cancelled():
                raise Cancelled("Looking at people was cancelled.")
            if progress is not None:
                progress((index + place / len(jobs)) / len(people), f"{folder.name}, left out")
            case = load_case(folder)
            if prior is None or case.side is None:
                raise InputError(f"{folder} does not say its side: delete {work} and call again.")
            truth = reference_surfaces(case)
            placed = placed_bones(case_images(case), case.rig, case.side, model, prior)
            for name in set(anchors) & set(placed):
                extent = scored_heights(name, truth[name], usable.get(case.id, {}).get(name))
                errors = errors_at_anchors(placed[name], truth[name], case.side, anchors[name], extent)
                described = anchor_features(placed[name], anchors[name]).astype(np.float16)
                rows[name].append((described, errors, person, case.id))
    if not all(rows.values()):
        raise InputError(f"No leg of {', '.join(people)} could be refined: look at the model before correcting it.")
    return {
        name: Examples(
            np.stack([row[0] for row in found]),
            np.stack([row[1] for row in found]),
            np.array([row[2] for row in found]),
            np.array([row[3] for row in found]),
        )
        for name, found in rows.items()
    }
