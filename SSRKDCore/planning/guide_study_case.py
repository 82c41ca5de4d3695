"""One case of a guide study: reconstruct, plan, guide, the control on the reference, and both seated; each step by its command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.planning.guide_study_results import StudyRow
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.cases import Case

CASES, SIMULATIONS = "cases", "simulations"


@dataclass(frozen=True)
class StudySettings:
    """What the results depend on.

    Attributes
    ----------
    model: folder or name of the model. weights_sha256, shape_prior_sha256, surface_correction_sha256: of its files; None where it has none.
    angle: degrees by which the wedge is opened.
    resolution: samples along a side of the field of view.
    device: where the network runs.
    starts, samples: of simulate-guide: poses to press from, and printed guides of its Monte Carlo.
    """

    model: str
    weights_sha256: str
    shape_prior_sha256: str | None
    surface_correction_sha256: str | None
    angle: float
    resolution: int
    device: str
    starts: int = 30
    samples: int = 60

    def to_dict(self) -> dict[str, Any]:
        """What must be the same for a run to go on; where the network runs and where its folder lies may change."""
        return {
            "weights_sha256": self.weights_sha256,
            "shape_prior_sha256": self.shape_prior_sha256,
            "surface_correction_sha256": self.surface_correction_sha256,
            "angle_degrees": self.angle,
            "resolution": self.resolution,
            "starts": self.starts,
            "samples": self.samples,
        }


def seen_bones(reference: Mapping[str, Surface], field_of_view: NDArray[np.float64]) -> dict[str, Surface]:
    """The parts of closed surfaces (LPS mm) inside a field of view (2, 3), lowest and highest corner in mm, closed at its faces.

    Bones that lie outside are left out. Raises InputError for a surface that has to be cut and is not a solid.
    """
    from SSRKDCore.planning.mesh_booleans import box, solid, surface_of

    seen = {}
    for name, surface in reference.items():
        low, high = surface.bounds
        if (low >= field_of_view[0]).all() and (high <= field_of_view[1]).all():
            seen[name] = surface
            continue
        cube = box(field_of_view.mean(axis=0), np.eye(3), 0.5 * np.ptp(field_of_view, axis=0))
        part = surface_of(solid(surface, f"the reference {name}") ^ cube)
        if not part.is_empty:
            seen[name] = part
    return seen


def run_command(name: str, *words: object) -> dict[str, Any]:
    """What a subcommand of ssrkd returns for these words of its command line. Raises what it raises, InputError above all."""
    import importlib

    from SSRKDCore.cli import build_parser

    arguments = build_parser(name).parse_args([name, *(str(word) for word in words)])
    found: dict[str, Any] = importlib.import_module(f"SSRKDCore.commands.{name.replace('-', '_')}").run(arguments)
    return found


class _Steps:
    """The steps of one case: each makes a folder, and is not done again where that is there."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.failures: dict[str, str] = {}

    def done(self, name: str, make: Callable[[Path], object], place: Path | None = None) -> bool:
        """Whether the step's folder is there now; a failure is kept with its reason and ends nothing."""
        folder = self.place / name if place is None else place
        if folder.is_dir():
            return True
        try:
            make(folder)
        except Cancelled:
            raise
        except Exception as error:  # One broken case, whatever breaks it, must not cost the others.
            self.failures[name] = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            return False
        return True


def study_case(folder: Path, out: Path, settings: StudySettings) -> StudyRow:
    """Every step of one case, or what is left of them.

    Parameters
    ----------
    folder: the case, with a reference.
    out: of the study; the case's own folders lie in it.
    settings: see StudySettings.

    A step that fails is kept in the row with its reason, and what does not need it goes on. Only Cancelled and interrupts pass.
    """
    from SSRKDCore.cases import load_case
    from SSRKDCore.evaluation.case_evaluation import case_subject
    from SSRKDCore.json_files import read_json

    name = case_name(folder)
    steps = _Steps(out / CASES / name)
    place, simulation = steps.place, out / SIMULATIONS / name
    try:
        case = load_case(folder)
    except InputError as error:
        return StudyRow(folder.parent.name, folder.name, None, None, {"case": str(error)})
    side = ("--side", case.side)
    plan_words = (*side, "--angle", settings.angle, "--no-pictures", "--out")
    planned = (
        steps.done("reconstruction", lambda target: _reconstruct(case, settings, target))
        and steps.done("plan", lambda target: run_command("plan-hto", place / "reconstruction", *plan_words, target))
    )  # fmt: skip
    made = planned and steps.done("guide", lambda target: _guide(place / "plan", target))
    known = steps.done("reference", lambda target: _write_reference(case, target))
    control = (
        planned and known
        and steps.done("control_plan", lambda target: run_command(
            "plan-hto", place / "reference" / "seen", "--cut-plane", *_plane_words(place / "plan"), *plan_words, target))
        and steps.done("control_guide", lambda target: _guide(place / "control_plan", target))
    )  # fmt: skip
    if made and known:
        words: list[object] = ["--guide", place / "guide", "--reference", place / "reference" / "tibia.ply"]
        words += ["--reconstruction", place / "reconstruction"]
        words += ["--starts", settings.starts, "--samples", settings.samples]
        if control:
            words += ["--control", place / "control_guide"]
            if simulation.is_dir() and read_json(simulation / "report.json", "a guide simulation")["control"] is None:
                # The control has become possible since the guide was simulated alone.
                steps.done("simulation", lambda target: _simulate([*words, "--overwrite"], simulation))
        steps.done("simulation", lambda target: _simulate(words, target), simulation)
    report = read_json(simulation / "report.json", "a guide simulation") if simulation.is_dir() else None
    plan = read_json(place / "plan" / "plan.json", "a plan") if planned else {}
    return StudyRow(
        folder.parent.name, folder.name, case_subject(case), case.side, steps.failures, report,
        tuple(warning["code"] for warning in plan.get("warnings", ())),
    )  # fmt: skip


def case_name(folder: Path) -> str:
    """The name of a case among those of several sets."""
    return f"{folder.parent.name}-{folder.name}"


def _reconstruct(case: Case, settings: StudySettings, out: Path) -> None:
    views = [word for view, path in case.radiographs.items() for word in ("--view", f"{view}={path}")]
    run_command(
        "reconstruct", *views, "--rig", case.folder / "rig.json", "--side", case.side, "--intensity", case.intensity,
        "--model", settings.model, "--resolution", settings.resolution, "--device", settings.device,
        "--no-trust", "--out", out,
    )  # fmt: skip


def _guide(plan: Path, out: Path) -> None:
    run_command("guide", plan, "--no-pictures", "--out", out)


def _simulate(words: Sequence[object], out: Path) -> None:
    run_command("simulate-guide", *words, "--out", out)


def _plane_words(plan: Path) -> list[str]:
    """The cut plane as --cut-plane takes it; argparse takes a negative number with an exponent for an option."""
    from SSRKDCore.planning.plan_files import read_plan

    plane = read_plan(plan)[0].cut_plane
    return [f"{value:.12f}" for value in (*plane.point, *plane.normal)]


def _write_reference(case: Case, out: Path) -> None:
    """`tibia.ply`, whole, and in `seen/` what the field of view shows of each bone."""
    from SSRKDCore.evaluation.case_evaluation import reference_surfaces
    from SSRKDCore.output_folder import complete_folder
    from SSRKDCore.surface_files import write_surface

    reference = reference_surfaces(case)
    if "tibia" not in reference:
        raise InputError(f"{case.folder} has no reference of the tibia: a guide cannot be seated on it.")
    seen = seen_bones(reference, case.rig.field_of_view.bounds)
    with complete_folder(out) as folder:
        write_surface(folder / "tibia.ply", reference["tibia"])
        (folder / "seen").mkdir()
        for name, surface in seen.items():
            write_surface(folder / "seen" / f"{name}.ply", surface)
