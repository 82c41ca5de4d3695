"""`ssrkd simulate-guide`: how well a guide made on a reconstruction fits the real bone, and what that does to the cut."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.planning.guide_simulation import GuideSimulation, SimulationParameters
    from SSRKDCore.surface import Surface

HELP = "seat a guide on the reference bone: contact, stability, cut and correction error"
SCHEMA, TABLE_SCHEMA = "ssrkd-guide-simulation/1", "ssrkd-guide-simulation-table/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table", nargs="*", metavar="table DIR", help="'table' and result folders: one table over cases"
    )
    parser.add_argument("--guide", metavar="DIR", help="guide made on the reconstruction (folder of ssrkd guide)")
    parser.add_argument("--reference", metavar="PATH", help="tibia surface, or a folder that holds the tibia")
    parser.add_argument("--control", metavar="DIR", help="guide made on the reference itself, simulated beside it")
    parser.add_argument(
        "--reconstruction",
        metavar="PATH",
        help="the reconstructed tibia, surface or folder: it is first registered onto the reference (rigid), and the guide with it",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (0)")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new folder for report.html, report.json and results.csv"
    )
    parser.add_argument("--starts", type=int, default=30, help="poses to press from (30)")
    parser.add_argument("--samples", type=int, default=60, help="printed guides of the Monte Carlo (60)")
    parser.add_argument("--friction", type=float, default=0.3, help="Coulomb friction of the seated guide (0.3)")
    parser.add_argument("--cone", type=float, default=15.0, metavar="DEGREES", help="tilt of the hand's push (15)")
    parser.add_argument("--torque-lever", type=float, default=5.0, metavar="MM", help="torque over push (5)")
    parser.add_argument(
        "--reconstruction-sd",
        default="0",
        metavar="MM|CSV",
        help="surface error of the reconstruction: a number, or rows x,y,z,sd (0)",
    )
    parser.add_argument(
        "--opening",
        type=float,
        metavar="DEGREES",
        help="planned wedge, for the error of the correction (the guide's own)",
    )
    for end in ("knee", "ankle"):
        parser.add_argument(
            f"--{end}-centre", type=float, nargs=3, metavar=("X", "Y", "Z"), help=f"{end} centre, LPS mm"
        )
    parser.add_argument(
        "--bands", type=float, nargs=5, metavar="PERCENT", help="lowest percentages of scores 2 to 6 (six equal bands)"
    )
    parser.add_argument("--no-pictures", action="store_true", help="figures only")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


# Guides that were made on reconstructions of the same bone lie on it better (docs/guide_simulation.md).
_LEAST_TOUCHING_PERCENT, _LARGEST_TURN_DEGREES = 50.0, 15.0


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.errors import InputError
    from SSRKDCore.output_folder import check_output_folder

    check_output_folder(args.out, args.overwrite)
    if args.table:
        if args.table[0] != "table" or len(args.table) < 2:
            raise InputError("Say 'table' and the result folders, or name --guide and --reference.")
        return _table(args.table[1:], args.out, args.overwrite)
    if args.guide is None or args.reference is None:
        raise InputError("Name the guide and the reference bone: --guide DIR --reference tibia.stl.")
    return _simulate(args)


def _simulate(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.evaluation.alignment import align_points
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import complete_folder
    from SSRKDCore.planning.guide_files import read_guide
    from SSRKDCore.planning.guide_motion import moved_guide
    from SSRKDCore.planning.guide_simulation import simulate_guide, with_control
    from SSRKDCore.planning.simulation_report import flat_figures, words, write_html, write_rows

    guide, bone = read_guide(args.guide), _tibia(args.reference)
    control = None if args.control is None else read_guide(args.control)
    parameters = _parameters(args)
    registration = None
    if args.reconstruction is not None:
        registration = align_points([_tibia(args.reconstruction).vertices], [bone])
        guide = moved_guide(guide, registration.matrix)
    whole = 1.0 if control is None else 0.5
    with progress_bar("simulate-guide") as progress:
        found = simulate_guide(guide, bone, parameters, args.seed, lambda done, words: progress(whole * done, words))
        beside = None
        if control is not None:
            beside = simulate_guide(
                control,
                bone,
                parameters,
                args.seed,
                lambda done, words: progress(0.5 + 0.5 * done, "control: " + words),
            )
            found = with_control(found, beside, bone)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "case": Path(args.out).name,
        "guide_path": args.guide,
        "control_path": args.control,
        "reference_path": args.reference,
        "seed": args.seed,
        "registration": None if registration is None else registration.to_dict(),
        "guide": found.to_dict(),
        "control": None if beside is None else beside.to_dict(),
        "notes": _notes(found, parameters),
    }
    with complete_folder(args.out, args.overwrite) as folder:
        simulations = {"guide": found} | ({} if beside is None else {"control": beside})
        pictures: dict[str, Any] = {} if args.no_pictures else _pictures(folder, simulations, bone, report["notes"])
        write_rows(folder / "results.csv", [_row(report, name) for name in simulations])
        write_html(folder / "report.html", report, pictures)
        write_json(folder / "report.json", report)
    figures = flat_figures(report["guide"])
    for name in ("seating_error.translation_mm", "seating_error.rotation_degrees", "contact.contact_percent_within_0.5_mm",
                 "stability.resisted_percent", "cut_plane.angle_degrees", "cut_plane.largest_mm"):  # fmt: skip
        say(f"{words(name):<48} {figures[name]:8.3f}")
    for note in report["notes"]:
        say(note)
    say(f"Written to {args.out}: report.html, report.json and results.csv.")
    return report


def _tibia(path: str) -> Surface:
    from SSRKDCore.errors import InputError
    from SSRKDCore.surface_files import find_bone_files, read_surface

    if Path(path).is_dir():
        files = find_bone_files(path)
        if "tibia" not in files:
            raise InputError(f"{path} holds no tibia: name a folder with tibia.stl, tibia.ply or tibia.obj.")
        return read_surface(files["tibia"])
    return read_surface(path)


def _parameters(args: argparse.Namespace) -> SimulationParameters:
    import numpy as np

    from SSRKDCore.errors import InputError
    from SSRKDCore.planning.guide_scores import EQUAL_BANDS_PERCENT
    from SSRKDCore.planning.guide_simulation import SimulationParameters
    from SSRKDCore.planning.guide_stability import StabilityParameters
    from SSRKDCore.planning.guide_tolerances import ToleranceParameters
    from SSRKDCore.planning.seating_search import SeatingParameters

    if (args.knee_centre is None) != (args.ankle_centre is None):
        raise InputError("The mechanical axis has two ends: give both --knee-centre and --ankle-centre.")
    if args.seed < 0:
        raise InputError(f"The seed is {args.seed}: use a whole number from 0.")
    ends = None if args.knee_centre is None else (np.array(args.knee_centre), np.array(args.ankle_centre))
    if ends is not None and not np.isfinite(ends).all():
        raise InputError("--knee-centre and --ankle-centre need finite coordinates: correct them.")
    field, deviation = _deviation(args.reconstruction_sd)
    return SimulationParameters(
        seating=SeatingParameters(starts=args.starts),
        stability=StabilityParameters(args.friction, args.cone, args.torque_lever),
        tolerances=ToleranceParameters(samples=args.samples, reconstruction_mm=deviation),
        opening_degrees=args.opening,
        knee_and_ankle=ends,
        reconstruction_field=field,
        bands_percent=EQUAL_BANDS_PERCENT if args.bands is None else tuple(args.bands),
    )


def _deviation(given: str) -> tuple[Any, float]:
    """A number, or points and standard deviations from a file."""
    import numpy as np

    from SSRKDCore.errors import InputError

    try:
        return None, float(given)
    except ValueError:
        pass
    try:
        rows = np.loadtxt(given, delimiter=",", ndmin=2, skiprows=1)
    except (OSError, ValueError) as error:
        raise InputError(f"{given} is neither a number nor a CSV file of x,y,z,sd with one heading line.") from error
    if rows.shape[1] != 4 or not len(rows) or not np.isfinite(rows).all() or rows[:, 3].min() < 0:
        raise InputError(f"{given} must hold rows of four finite numbers x,y,z,sd (mm), sd not negative.")
    return (rows[:, :3], rows[:, 3]), 0.0


def _notes(found: GuideSimulation, parameters: SimulationParameters) -> list[str]:
    notes = [found.scores_note]
    touching, turned = found.contact.contact_percent[1.0], found.seating_error["rotation_degrees"]
    if touching < _LEAST_TOUCHING_PERCENT or turned > _LARGEST_TURN_DEGREES:
        notes.insert(
            0,
            f"This guide does not fit this bone: {touching:.0f} % of its surface lies within 1 mm of it, turned by {turned:.0f} degrees "
            "from its planned place. Check that the bone is the one it was made for, in millimetres and in the guide's frame.",
        )
    if found.hinge is None:
        notes.append("The guide knows no hinge: hinge distance and correction error were not computed.")
    elif found.correction is None:
        notes.append(
            "Neither the guide nor --opening says how large the wedge is: the error of the correction was not computed."
        )
    elif parameters.knee_and_ankle is None:
        notes.append(
            "Knee and ankle centres were not given: the frontal rotation stands for the change of MPTA and HKA."
        )
    return notes


def _row(report: dict[str, Any], name: str) -> dict[str, Any]:
    from SSRKDCore.planning.simulation_report import flat_figures

    made_on = "reconstruction" if name == "guide" else "reference"
    return {"case": report["case"], "made_on": made_on} | flat_figures(report[name])


def _pictures(folder: Path, simulations: dict[str, GuideSimulation], bone: Surface, notes: list[str]) -> dict[str, Any]:
    from SSRKDCore.pictures.render import RenderingUnavailable, write_png
    from SSRKDCore.planning.simulation_pictures import cut_picture, gap_picture

    shown: dict[str, Any] = {}
    for name, simulation in simulations.items():
        try:
            drawn = {"gap": gap_picture(simulation, bone), "cut": cut_picture(simulation, bone)}
        except RenderingUnavailable as error:
            notes.append(str(error))
            break
        shown[name] = {}
        for title, picture in drawn.items():
            file = folder / f"{name}_{title}.png"
            write_png(file, picture)
            shown[name][title] = file.read_bytes()
    return shown


def _table(folders: list[str], out: str, overwrite: bool) -> dict[str, Any]:
    from SSRKDCore.errors import InputError
    from SSRKDCore.json_files import read_json, write_json
    from SSRKDCore.output_folder import complete_folder
    from SSRKDCore.planning.simulation_report import write_rows, write_table_html

    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for folder in folders:
        report = read_json(Path(folder) / "report.json", "the result of a guide simulation")
        there = [name for name in ("guide", "control") if report.get(name) is not None]
        whole = "guide" in there and all(isinstance(report[name], dict) for name in there)
        if report.get("schema") != SCHEMA or not whole or not isinstance(report.get("case"), str):
            raise InputError(f"{folder} is no result of ssrkd simulate-guide of this version: simulate it again.")
        rows += [_row(report, name) for name in there]
        notes.append(str(report["guide"].get("scores_note", "")))
    notes = [note for note in dict.fromkeys(notes) if note]
    table = {"schema": TABLE_SCHEMA, "notes": notes, "rows": rows}
    with complete_folder(out, overwrite) as target:
        write_rows(target / "table.csv", rows)
        write_table_html(target / "table.html", rows, notes)
        write_json(target / "table.json", table)
    say(f"Written to {out}: table.html, table.csv and table.json, {len(rows)} rows.")
    return table
