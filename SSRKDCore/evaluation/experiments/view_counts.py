"""Figure 5b: the number of views; all points at one budget.

One view is the AP one, two are the AP and the lateral one; the third and the fourth are turned from the AP view by 45 and -45 degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SSRKDCore.console import progress_bar
from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import project
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.case_subsets import linked_store, nested_cases
from SSRKDCore.evaluation.experiments.framework import MakeCase, Plan
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import Source, checked_case
from SSRKDCore.evaluation.experiments.training_points import (
    TrainingPlace,
    TrainingPoint,
    point_helpers,
    student_folder,
    trained_plan,
)
from SSRKDCore.evaluation.experiments.variants import noisy, write_variant
from SSRKDCore.evaluation.experiments.view_samples import VIEW_COUNTS, oblique_views, store_of_views
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.config import XrayNetworkConfig
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.training.configuration import configuration
from SSRKDCore.training.recipe import LICENCE
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.teacher_outputs import write_teacher_outputs
from SSRKDCore.training.xray_training import train_xray

LABELLED, UNLABELLED = 70, 280


@dataclass(frozen=True, kw_only=True)
class ManyViewTraining(XrayTraining):
    """The student's settings for another number of views than its preset's.

    Attributes:
        views: how many radiographs the network reads.
    """

    views: int

    def _check(self) -> None:
        super()._check()
        self._require(self.views >= 1, "views must be 1 or more")

    def network_config(self) -> XrayNetworkConfig:
        """The architecture, for that many views."""
        return replace(super().network_config(), view_count=self.views)


def rig_of_views(rig: Rig, count: int) -> Rig:
    """The rig with `count` views (1 to 4): the AP one, both, or oblique ones added. Raises InputError for a rig of other than two views."""
    if len(rig.views) != 2:
        raise InputError(f"The rig has {len(rig.views)} views, and views are added to two: use cases with two.")
    views = (*rig.views, *oblique_views(rig.views[0], rig.field_of_view.center, max(count - 2, 0)))[:count]
    return Rig(views, rig.field_of_view, {**rig.provenance, "views": count})


def case_of_views(count: int) -> MakeCase:
    """The `make` of a point: the case seen through `count` views, all simulated alike."""

    def make(source: Source, folder: Path, seed: int) -> Path:
        given = checked_case(source)
        rig = rig_of_views(given.case.rig, count)
        images = noisy(project(given.exposed.volume, given.exposed.grid, rig), NoiseModel(), seed)
        return write_variant(folder, given.case, images, rig, {"views": count})

    return make


def view_points(
    place: TrainingPlace, counts: Sequence[int] = VIEW_COUNTS, labelled: int = LABELLED, unlabelled: int = UNLABELLED
) -> list[TrainingPoint]:
    """A point a number of views, on the same cases and points."""
    changes = place.student_batches(unlabelled > 0)
    return [
        TrainingPoint(
            f"{count} view{'s' if count > 1 else ''}",
            labelled,
            unlabelled,
            changes,
            value=float(count),
            make=case_of_views(count),
        )
        for count in counts
    ]


def train_view_point(place: TrainingPlace, point: TrainingPoint) -> Path:
    """As `train_point`, for the number of views that the point's value says. Raises as it does."""
    assert point.value is not None
    views = int(point.value)
    store = SampleStore(place.work.samples)
    cases = nested_cases(store, point.labelled, point.unlabelled, place.seed)
    name = f"{point.labelled}-labelled-{point.unlabelled}-unlabelled"
    chosen = linked_store(store, cases, place.out / "samples" / name)
    with progress_bar(point.name) as progress:
        samples = store_of_views(chosen, views, place.out / "samples" / f"{name}-{views}-views", progress)
    teacher, segmenter = (load_model(path) for path in point_helpers(place, point))
    settings, run = _settings(place, point, views)
    everything = range(len(samples))
    job = StageJob(
        samples, everything, [], settings, run, student_folder(place, point), point.name, LICENCE, teacher, segmenter
    )
    if settings.needs_teacher:
        write_teacher_outputs(teacher, everything, samples)
    return train_xray(job)


def _settings(place: TrainingPlace, point: TrainingPoint, views: int):  # type: ignore[no-untyped-def]
    recipe = place.recipe.training
    preset = str(recipe.get("preset", "compact"))
    wanted = configuration("xray", None, preset, (), {**recipe.get("run", {}), "held_out": 0})
    changes = {**recipe.get("xray", {}), **point.changes, "steps": place.steps, "epochs": 0}
    student = wanted.training.changed(changes)
    return ManyViewTraining.from_dict({**student.to_dict(), "views": views}), wanted.run


def plan(request: Request) -> Plan:
    """The points of the experiment."""
    place = request.needed_training()
    labelled, unlabelled = place.one("labelled", LABELLED), place.one("unlabelled", UNLABELLED)
    points = view_points(place, labelled=labelled, unlabelled=unlabelled)
    return trained_plan(request, points, {"": "views"}, train_view_point)
