"""All bones of the anatomy folder in correspondence: templates, registrations (kept on disk), and the reference knee."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.population.bone_sources import (
    DRAWS_SUBJECT,
    BoneSource,
    ModelDraws,
    read_bone_sources,
    read_model_draws,
)
from SSRKDCore.population.closest_points import ClosestPoints, barycentric
from SSRKDCore.population.correspondence import METHOD, SCALES, Correspondence, Registration
from SSRKDCore.population.joint_features import BoneSet
from SSRKDCore.population.rigid_motion import similarity_between
from SSRKDCore.population.template import Template, even_mesh
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]

# How far the model's shafts reach from the joint line, mm: beyond 150 mm also for a small knee.
SHAFT_END = 190.0
_EDGES = {"femur": 3.0, "tibia": 3.0, "fibula": 2.0, "patella": 2.0}
# The Clouthier mean stops at 103 mm (femur) and -91 mm (tibia), with a rounded edge.
_EXTRUDED_FROM = {"femur": 92.0, "tibia": -80.0}
# Slices of the fibula that the template is made from are 1 to 2 mm thick, and would stay in every sample.
_FIBULA_SMOOTHING = 1.5


@dataclass(frozen=True)
class KneeCorrespondences:
    """What a shape model is fitted to.

    Attributes
    ----------
    templates: bone name -> template; its faces are those of every knee.
    reference: bone name -> (V, 3) mm, the templates in one knee frame.
    names, subjects, weights: of each knee: item, person, and how many people it counts as.
    knees: corresponding vertices of each.
    distances: knee -> bone -> (N,) mm between the bent template and its source, both ways (real bones only).
    """

    templates: dict[str, Template]
    reference: dict[str, Array]
    names: list[str]
    subjects: list[str]
    weights: Array
    knees: list[BoneSet]
    distances: dict[str, dict[str, Array]]

    def without(self, subject: str) -> KneeCorrespondences:
        """The same without one person's knees."""
        kept = [index for index, name in enumerate(self.subjects) if name != subject]
        return KneeCorrespondences(
            self.templates,
            self.reference,
            [self.names[index] for index in kept],
            [self.subjects[index] for index in kept],
            self.weights[kept],
            [self.knees[index] for index in kept],
            {name: found for name, found in self.distances.items() if self.subjects[self.names.index(name)] != subject},
        )


def find_correspondences(
    data: Path,
    excluded_subjects: Iterable[str] = (),
    work: Path | None = None,
    progress: Progress = lambda fraction, words: None,
) -> KneeCorrespondences:
    """Registers every bone of the anatomy folder that may be trained on.

    Parameters
    ----------
    data: the anatomy folder (its README says what it holds).
    excluded_subjects: people of whom nothing is used.
    work: folder in which registrations are kept, and found again if bone, template and method are the same; None keeps none.
    progress: called with the fraction done and words.

    Raises InputError for an unknown subject, a folder without usable bones, or when too much is excluded for a template.
    """
    excluded = set(excluded_subjects)
    sources, draws = read_bone_sources(data, excluded), read_model_draws(data, excluded)
    if draws is None:
        raise InputError(f"The templates are made from {DRAWS_SUBJECT}, which is excluded or absent: keep it.")
    templates = make_templates(sources, draws)
    registrations = {name: Registration(templates[name]) for name in BONE_NAMES}
    found: list[dict[str, Correspondence]] = []
    for index, source in enumerate(sources):
        progress(index / len(sources), f"Registering {source.name}")
        found.append({
            name: _registered(registrations[name], bone, source.usable_to.get(name, np.inf), work)
            for name, bone in source.bones.items()
        })  # fmt: skip
    progress(1.0, "Registered")
    reference = _reference_knee(templates, sources, found)
    names, subjects, knees = [], [], []
    for source, bones in zip(sources, found, strict=True):
        names.append(source.name)
        subjects.append(source.subject)
        vertices = {name: bone.vertices for name, bone in bones.items()}
        knees.append(BoneSet(vertices, {name: bone.seen for name, bone in bones.items()}, source.frames))
    weights = [1.0 / subjects.count(subject) for subject in subjects]
    drawn = _draws_in_correspondence(registrations, draws, work)
    names += [f"{DRAWS_SUBJECT}_{index:03d}" for index in range(len(drawn))]
    subjects += [DRAWS_SUBJECT] * len(drawn)
    weights += [draws.subjects / len(drawn)] * len(drawn)
    distances = {
        source.name: {name: bone.distances for name, bone in bones.items()}
        for source, bones in zip(sources, found, strict=True)
    }
    return KneeCorrespondences(templates, reference, names, subjects, np.array(weights), knees + drawn, distances)


def make_templates(sources: list[BoneSource], draws: ModelDraws) -> dict[str, Template]:
    """Templates from the mean of the model draws (femur, tibia, patella) and from one fibula.

    The single fibula of a CT is taken if there is one, else the first whole fibula. Raises InputError when there is none.
    """
    templates = {}
    for name in ("femur", "tibia"):
        end = SHAFT_END if name == "femur" else -SHAFT_END
        templates[name] = even_mesh(draws.mean[name], _EDGES[name], end, _EXTRUDED_FROM[name])
    templates["patella"] = even_mesh(draws.mean["patella"], _EDGES["patella"])
    whole = [
        source
        for source in sources
        if "fibula" in source.bones and source.bones["fibula"].bounds[0, 2] < -SHAFT_END - 20
    ]
    if not whole:
        raise InputError("No whole fibula is left to make a template from: exclude fewer subjects.")
    fibula = min(whole, key=lambda source: len(source.frames) == 1).bones["fibula"]
    templates["fibula"] = even_mesh(fibula, _EDGES["fibula"], -SHAFT_END, smoothing=_FIBULA_SMOOTHING)
    return {name: templates[name] for name in BONE_NAMES}


def _registered(registration: Registration, bone: Surface, usable_to: float, work: Path | None) -> Correspondence:
    if work is None:
        return registration.register(bone, usable_to)
    digest = hashlib.sha256()
    for part in (registration.template.vertices, registration.template.faces, bone.vertices, bone.faces):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(f"{METHOD} {SCALES} {usable_to}".encode())
    path = work / f"{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return Correspondence(kept["vertices"], kept["seen"], kept["distances"])
    result = registration.register(bone, usable_to)
    work.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part.npz")
    np.savez_compressed(beside, vertices=result.vertices, seen=result.seen, distances=result.distances)
    beside.replace(path)
    return result


def _reference_knee(
    templates: dict[str, Template], sources: list[BoneSource], found: list[dict[str, Correspondence]]
) -> dict[str, Array]:
    """The templates in the knee frame of the femur's: fibula and patella moved to where the legs have them on average."""
    reference = {name: templates[name].vertices for name in BONE_NAMES}
    for name, owner in (("fibula", "tibia"), ("patella", "femur")):
        places = []
        for source, bones in zip(sources, found, strict=True):
            if any({name, owner} <= frame for frame in source.frames):
                own, base = bones[name], bones[owner]
                near = base.seen & (np.abs(reference[owner][:, 2]) < 70.0)
                back = similarity_between(base.vertices[near], reference[owner][near])
                onto = similarity_between(reference[name][own.seen], own.vertices[own.seen])
                places.append(back.apply(onto.apply(reference[name])))
        if not places:
            raise InputError(f"No leg with a {name} and a {owner} in one frame is left: exclude fewer subjects.")
        motion = similarity_between(reference[name], np.mean(places, axis=0), scaled=False)
        reference[name] = motion.apply(reference[name])
    return reference


def _draws_in_correspondence(
    registrations: dict[str, Registration], draws: ModelDraws, work: Path | None
) -> list[BoneSet]:
    """The draws at the templates' vertices: registered once to their mean, then carried by its triangles."""
    vertices, seen = {}, {}
    for name, mean in draws.mean.items():
        onto = _registered(registrations[name], mean, np.inf, work)
        closest = ClosestPoints(mean)
        points, triangle = closest.query(onto.vertices)
        share = barycentric(points, closest.triangles[triangle])
        corners = draws.vertices[name][:, mean.faces[closest.kept[triangle]]]
        vertices[name] = np.einsum("nvcx,vc->nvx", corners, share)
        # The rounded edge of the source's cut end is no bone surface, and its cap none either.
        seen[name] = onto.seen & (np.arange(len(points)) < registrations[name].template.own_count)
    alone = tuple(frozenset({name}) for name in vertices)
    return [
        BoneSet({name: vertices[name][index] for name in vertices}, seen, alone, sized=False, posed=False)
        for index in range(len(next(iter(vertices.values()))))
    ]
