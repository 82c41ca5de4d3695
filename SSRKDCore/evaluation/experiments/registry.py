"""The experiments by name, each loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.cases import find_cases
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.evaluation_run import scored_folders
from SSRKDCore.evaluation.experiments.framework import Plan, PointResult
from SSRKDCore.evaluation.experiments.sources import CaseSource

if TYPE_CHECKING:
    from SSRKDCore.evaluation.experiments.training_points import TrainingPlace

_HERE = "SSRKDCore.evaluation.experiments"

#: name -> (module, with the name of its plan where that is not "plan"; what it is in one line).
EXPERIMENTS: dict[str, tuple[str, str]] = {
    "table": (f"{_HERE}.method_table", "Table 1: several methods on the same cases, with paired differences to the first"),
    "learning-curve-labelled": (f"{_HERE}.learning_curves:labelled_plan", "Figure 5a: error against the number of labelled training cases"),
    "learning-curve-unlabelled": (f"{_HERE}.learning_curves:unlabelled_plan", "Figure 5a: likewise, of unlabelled ones"),
    "parts": (f"{_HERE}.learning_curves:parts_plan", "Table 1: SSR-KD in full, and without one of its parts each"),
    "views": (f"{_HERE}.view_counts", "Figure 5b: students of one to four views"),
    "separation": (f"{_HERE}.separation", "Figure 5c: angle between the views, 30 to 90 degrees"),
    "external": (f"{_HERE}.external", "Figure 5d: the external knees of --data, which are for evaluation only"),
    "metal": (f"{_HERE}.metal_implants", "Figure 6: the same knees without metal, with staples, a plate, a partial knee"),
    "flexion": (f"{_HERE}.flexion", "the same knees of --shape-model bent by 0 to 40 degrees"),
    "size": (f"{_HERE}.size", "the same knees of --shape-model made smaller and larger"),
    "noise": (f"{_HERE}.dose", "fewer and fewer photons, from a tenfold dose to a hundredth"),
    "calibration": (f"{_HERE}.calibration", "a rig that is told wrongly: angle, magnification, shift"),
    "renderer": (f"{_HERE}.renderer", "the same knees by another projector (RTK), and with scattered radiation"),
    "degradations": (f"{_HERE}.degradations", "worse and worse images (scatter, blur, wires, crop, ...), with and without remedies"),
    "two-sites": (f"{_HERE}.two_sites", "students, or a given model, on images of another site, with and without each remedy"),
    "gallery": (f"{_HERE}.gallery", "Figure 2: reconstruction and reference from 0, 90 and 180 degrees, coloured by distance"),
    "error-map": (f"{_HERE}.error_map", "where on the bones the error is: averaged on the mean of --shape-model"),
    "self-assessment": (
        f"{_HERE}.self_assessment",
        "distance of projected and seen outlines, and its correlation with the true error",
    ),
}  # fmt: skip


#: Experiments whose points are students of their own, trained before they are measured.
TRAINED = ("learning-curve-labelled", "learning-curve-unlabelled", "parts", "views", "two-sites")
#: Those of them that measure a given model instead, where one is named; no student is trained then.
TAKES_MODEL = ("two-sites",)


@dataclass(frozen=True)
class Request:
    """What an experiment was asked to work on.

    Attributes
    ----------
    cases: a case or a folder of cases, or None.
    data: the anatomy folder, or None.
    shape_model: of `ssrkd shape-model`, or None.
    limit: at most so many knees; None takes all, or the experiment's usual number where it makes its own.
    seed: of everything random.
    methods: name of the row -> method, of which only the experiment `table` has several; empty where students are trained.
    points: names of the points that are wanted; None takes all.
    training: where and how long the experiments of `TRAINED` train; None for the others.
    look: of `ssrkd style-reference`, for the experiment `degradations`, or None.
    """

    cases: Path | None = None
    data: Path | None = None
    shape_model: Path | None = None
    limit: int | None = None
    seed: int = 0
    methods: Mapping[str, Any] | None = None
    points: Sequence[str] | None = None
    training: TrainingPlace | None = None
    look: Path | None = None

    def case_sources(self) -> list[CaseSource]:
        """The given labelled cases, as many as are wanted. Raises InputError where none are given."""
        if self.cases is None:
            raise InputError("This experiment works on given cases: name their folder with --cases.")
        folders, unlabelled = scored_folders(find_cases(self.cases))
        if not folders:
            raise InputError(
                f"All {unlabelled} cases of {self.cases} are unlabelled: name labelled cases with --cases."
            )
        return [CaseSource(folder) for folder in folders[: self.limit]]

    def unlabelled_count(self) -> int:
        """How many cases `case_sources` leaves out because their record says that they are unlabelled."""
        return 0 if self.cases is None else scored_folders(find_cases(self.cases))[1]

    def needed_shape_model(self) -> Path:
        """Raises InputError where no shape model is given."""
        if self.shape_model is None:
            raise InputError(
                "This experiment needs a shape model: name the file of `ssrkd shape-model` with --shape-model."
            )
        return self.shape_model

    def needed_data(self) -> Path:
        """Raises InputError where no anatomy folder is given."""
        if self.data is None:
            raise InputError("This experiment needs the anatomy folder: name it with --data.")
        return self.data

    def needed_training(self) -> TrainingPlace:
        """Raises InputError where it is not said what students are trained with."""
        if self.training is None:
            raise InputError(
                "This experiment trains students: name the recipe with --config, its folder with --work, and the budget with --steps."
            )
        return self.training

    def wanted(self, known: Sequence[str]) -> list[str]:
        """Those of an experiment's points that are wanted, in its order. Raises InputError for a name that it does not have."""
        unknown = [name for name in self.points or () if name not in known]
        if unknown:
            raise InputError(
                f"There is no point '{unknown[0]}': use some of {', '.join(repr(name) for name in known)}."
            )
        return [name for name in known if self.points is None or name in self.points]


Finish = Callable[[Request, Plan, Sequence[PointResult], Path, str], dict[str, Any]]


def load_experiment(name: str) -> tuple[Callable[[Request], Plan], Finish | None]:
    """An experiment's plan, and where it has one its `finish`, which makes its pictures in place of the usual plot.

    Raises InputError for an unknown name.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"There is no experiment '{name}': use one of {', '.join(EXPERIMENTS)}.")
    path, _, function = EXPERIMENTS[name][0].partition(":")
    module = importlib.import_module(path)
    return getattr(module, function or "plan"), getattr(module, "finish", None)
