"""Shape priors that know fewer people than the one that ships.

Training knees are drawn from the shape model that refinement uses as its prior, and no knees are easier for it: what it leaves wrong on
them is less than, and unlike, what it leaves wrong on a patient, who is in no prior. A correction that learnt from such errors did nothing
for the femur and the patella of people left out of the prior. So it learns from what priors leave wrong that lack most of the people whom
the knees are drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.population.bone_sources import DRAWS_SUBJECT
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.refinement.shape_prior import read_shape_prior, write_shape_prior

Progress = Callable[[float, str], None]

#: Between which shares of the people a poorer prior does not know. The published draws of one model, which templates are made from, stay.
LEFT_OUT_SHARES = (0.4, 0.75)
_ATTEMPTS = 5
_FEWEST_PEOPLE = 3
_SAME_MM = 1e-2


def poorer_priors(
    prior: KneeShapeModel,
    bones: Iterable[str],
    data: Path,
    count: int,
    work: Path,
    seed: int,
    progress: Progress | None = None,
) -> list[KneeShapeModel]:
    """Shape priors without some of a prior's people, as many and which by chance.

    Parameters
    ----------
    prior: whose card says of which people it is. bones: whose meshes have to stay as the prior's.
    data: the anatomy folder that it was made from. count: how many. work: folder that keeps them, and registrations of bones.
    seed: of the choice.

    Raises InputError for a prior without enough people, or where too few of them make a shape model.
    """
    card = prior.card
    people = sorted(set(card.get("people") or {}) - {DRAWS_SUBJECT})
    if len(people) < _FEWEST_PEOPLE or "excluded_subjects" not in card:
        raise InputError(
            "The shape prior does not say of which people it was made, or of too few: publish the model again."
        )
    found: list[KneeShapeModel] = []
    generator = np.random.default_rng(seed)
    for attempt in range(_ATTEMPTS * count):
        if progress is not None:
            progress(len(found) / count, f"shape prior {len(found) + 1} of {count}")
        # Few people may leave a bone without a whole example: then others are tried.
        lacking = round(generator.uniform(*LEFT_OUT_SHARES) * len(people))
        out = [str(name) for name in generator.permutation(people)[:lacking]]
        poorer = _without(prior, bones, data, [*card["excluded_subjects"], *out], work, f"{seed}-{attempt}")
        if poorer is not None:
            found.append(poorer)
        if len(found) == count:
            return found
    raise InputError(
        f"Only {len(found)} of {_ATTEMPTS * count} choices among the shape prior's {len(people)} people make a shape "
        "model: use more people."
    )


def _without(
    prior: KneeShapeModel, bones: Iterable[str], data: Path, excluded: list[str], work: Path, name: str
) -> KneeShapeModel | None:
    """The prior made again without some people; None where that is impossible or gives other meshes."""
    path = work / "poorer-priors" / f"{name}.safetensors"
    if not path.is_file():
        try:
            fitted = KneeShapeModel.fit(data, excluded, work / "registrations")
        except InputError:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shape_prior(fitted, path)
    found = read_shape_prior(path)
    if found.card.get("excluded_subjects") != sorted(excluded):
        raise InputError(f"{path} is of other people than are asked for: delete {path.parent} and call again.")
    for bone in bones:
        ours, theirs = prior.templates[bone].vertices, found.templates[bone].vertices
        if ours.shape != theirs.shape or np.abs(ours - theirs).max() > _SAME_MM:
            return None
    return found
