"""How good a shape model is: compactness, generalisation and specificity (Styner et al., IPMI 2003; Davies 2002), and its registrations.

Generalisation is measured as a user would want it: the person's bones are left out (all of them, both sides), the model is fitted anew, and
its best knee next to their surfaces is compared with those by exact distances, not vertex by vertex.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.exact_distances import DistanceToSurface, surface_distances
from SSRKDCore.population.bone_sources import DRAWS_SUBJECT, BoneSource
from SSRKDCore.population.knee_correspondences import KneeCorrespondences
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.surface_fit import FittedBone

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Shafts are compared this far from the joint line (mm); further out no field of view reaches.
_COMPARED_TO = 150.0
_SHARES = (0.9, 0.95, 0.98)
_PAIRS = (("femur", "tibia"), ("patella", "femur"), ("fibula", "tibia"))


def quality_report(
    found: KneeCorrespondences,
    sources: list[BoneSource],
    samples: int = 100,
    seed: int = 0,
    progress: Progress = lambda fraction, words: None,
) -> dict[str, Any]:
    """All measures, as plain values for JSON.

    Parameters
    ----------
    found: the correspondences that the model is fitted to.
    sources: the real bones behind them.
    samples, seed: random knees for specificity and joint spaces.
    progress: called with the fraction done and words.
    """
    model = KneeShapeModel.of_correspondences(found)
    progress(0.02, "Measuring samples")
    report = {
        "unit": "mm",
        "model": model.card,
        "registration": registration_distances(found),
        "compactness": compactness(model),
        "specificity": specificity(model, found, samples, seed),
        "joint_spaces": joint_spaces(model, min(samples, 40), seed),
    }
    report["generalisation"] = generalisation(found, sources, lambda done, words: progress(0.1 + 0.9 * done, words))
    return report


def registration_distances(found: KneeCorrespondences) -> dict[str, Any]:
    """Distances between the bent templates and their bones, both ways: per bone over all real knees, and the worst knee."""
    result = {}
    for name in BONE_NAMES:
        knees = {knee: bones[name] for knee, bones in found.distances.items() if name in bones}
        if not knees:
            continue
        pooled = np.concatenate(list(knees.values()))
        means = {knee: float(distances.mean()) for knee, distances in knees.items()}
        result[name] = {
            "bones": len(knees),
            "median": _rounded(np.median(pooled)),
            "mean": _rounded(pooled.mean()),
            "p95": _rounded(np.percentile(pooled, 95)),
            "max": _rounded(pooled.max()),
            "worst_bone": max(means, key=means.__getitem__),
            "worst_bone_mean": _rounded(max(means.values())),
        }
    return result


def compactness(model: KneeShapeModel) -> dict[str, Any]:
    """Share of the variance of the vectors that the first modes hold."""
    shares = np.cumsum(model.pca.variances) / model.pca.variances.sum()
    return {
        "cumulative_share": [_rounded(share, 4) for share in shares],
        "modes_for": {str(share): int(np.searchsorted(shares, share)) + 1 for share in _SHARES},
    }


def specificity(model: KneeShapeModel, found: KneeCorrespondences, samples: int, seed: int) -> dict[str, Any]:
    """Mean distance of corresponding vertices from random bones to the most alike bone learnt from, shape alone (own frame, one size).

    The same measure among the real bones, each to the most alike of another person, tells what to expect.
    """
    result = {}
    for name in BONE_NAMES:
        shapes, people, seen = _training_shapes(model, found, name)
        entry: dict[str, Any] = {}
        for words, gaussian_process in (("modes", False), ("modes_and_gaussian_process", True)):
            generator = np.random.default_rng(seed)
            nearest = []
            for _ in range(samples):
                vector, field = model.draw(generator, gaussian_process)
                nearest.append(_to_nearest(model.shapes(vector, field)[name], shapes, seen))
            entry[words] = _rounded(np.mean(nearest))
        real = [index for index, person in enumerate(people) if person != DRAWS_SUBJECT]
        apart = []
        for index in real:
            others = [other for other in real if people[other] != people[index]]
            if others:
                apart.append(_to_nearest(shapes[index], shapes[others], seen[others] & seen[index]))
        entry["between_real_people"] = _rounded(np.mean(apart)) if apart else None
        result[name] = entry
    return result


def _training_shapes(
    model: KneeShapeModel, found: KneeCorrespondences, name: str
) -> tuple[Array, list[str], NDArray[np.bool_]]:
    part = model.features.slices[name]
    shapes, people, seen = [], [], []
    for knee, person in zip(found.knees, found.subjects, strict=True):
        vector, shown = model.features.encode(knee)
        if shown[part].any():
            shapes.append(vector[part].reshape(-1, 3))
            seen.append(shown[part].reshape(-1, 3)[:, 0])
            people.append(person)
    return np.array(shapes), people, np.array(seen)


def _to_nearest(shape: Array, shapes: Array, seen: NDArray[np.bool_]) -> float:
    distance = np.linalg.norm(shapes - shape, axis=2)
    return float(((distance * seen).sum(axis=1) / seen.sum(axis=1)).min())


def joint_spaces(model: KneeShapeModel, samples: int, seed: int) -> dict[str, Any]:
    """Smallest signed distance between neighbouring bones of random knees, before anyone poses them (negative: overlap)."""
    generator = np.random.default_rng(seed)
    smallest: dict[str, list[float]] = {f"{a}-{b}": [] for a, b in _PAIRS}
    for _ in range(samples):
        knee = model.sample(generator)
        for a, b in _PAIRS:
            smallest[f"{a}-{b}"].append(float(DistanceToSurface(knee[b]).signed(knee[a].vertices).min()))
    return {
        pair: {"median": _rounded(np.median(v)), "lowest": _rounded(min(v)), "highest": _rounded(max(v))}
        for pair, v in smallest.items()
    }


def generalisation(found: KneeCorrespondences, sources: list[BoneSource], progress: Progress) -> dict[str, Any]:
    """Leave one person out: exact distances between the model's best knee and their bones, with and without the Gaussian process."""
    people = sorted({source.subject for source in sources})
    rows: list[dict[str, Any]] = []
    for index, person in enumerate(people):
        progress(index / len(people), f"Leaving out {person}")
        rest = found.without(person)
        try:
            model = KneeShapeModel.of_correspondences(rest)
        except ValueError:
            # Without this person some bone would have no whole example.
            continue
        for source in (source for source in sources if source.subject == person):
            for words, with_process in (("modes", False), ("modes_and_gaussian_process", True)):
                for name, fit in model.project(source.bones, with_process).items():
                    rows.append({"knee": source.name, "subject": person, "bone": name, "model": words, **_exact(fit)})
    means: dict[str, Any] = {}
    for name in BONE_NAMES:
        for words in ("modes", "modes_and_gaussian_process"):
            chosen = [row for row in rows if row["bone"] == name and row["model"] == words]
            if chosen:
                means.setdefault(name, {})[words] = {
                    "bones": len(chosen),
                    "subjects": len({row["subject"] for row in chosen}),
                    "assd": _rounded(np.mean([row["assd"] for row in chosen])),
                    "worst_assd": _rounded(max(row["assd"] for row in chosen)),
                    "worst_knee": max(chosen, key=lambda row: row["assd"])["knee"],
                    "hd95": _rounded(np.mean([row["hd95"] for row in chosen])),
                }
    return {"compared_to_mm_from_joint": _COMPARED_TO, "means": means, "knees": rows}


def _exact(fit: FittedBone) -> dict[str, float]:
    low, high = max(fit.extent[0], -_COMPARED_TO), min(fit.extent[1], _COMPARED_TO)
    box = np.array([[-np.inf, -np.inf, low], [np.inf, np.inf, high]])
    distances = surface_distances(fit.fitted, fit.given, box)
    return {"assd": _rounded(distances.assd), "hd95": _rounded(distances.hd95), "hd": _rounded(distances.hd)}


def _rounded(value: float | np.floating, digits: int = 3) -> float:
    return round(float(value), digits)
