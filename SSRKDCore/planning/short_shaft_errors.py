"""What a short shaft costs: measurements on whole legs against the same with less of the shaft, and what the mechanical angles read.

`python -m SSRKDCore.planning.short_shaft_errors --right FOLDER ... --left FOLDER ... --out FILE`
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.planning.landmark_set import LandmarkSet
from SSRKDCore.planning.landmarks import find_landmarks
from SSRKDCore.planning.measurements import difference, measure
from SSRKDCore.planning.shaft_axis import FARTHEST
from SSRKDCore.surface import Surface

SCHEMA = "ssrkd-short-shaft-errors/1"
#: How much of the shaft is left, in widths of the bone from its joint surface; the whole stretch reaches 1.45.
REACHES = (0.88, 0.95, 1.05, 1.2)
_SMALLEST_SHARE_SEEN = 0.99
# In degrees, mm, percent or as a ratio: less is the landmarks' own grain, and no effect of the shaft.
_NEGLIGIBLE = 0.01
_MECHANICAL = {"aMPTA": "MPTA", "aLDFA": "mLDFA", "aFTA": "HKA"}


@dataclass(frozen=True)
class Spread:
    """Differences over bones: how many, signed mean, standard deviation (N - 1), root of the mean square, largest size."""

    bones: int
    mean: float
    sd: float | None
    rms: float
    worst: float

    @classmethod
    def of(cls, differences: Sequence[float]) -> Spread:
        """Of at least one difference."""
        values = np.array(differences)
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        return cls(
            len(values), float(values.mean()), sd, float(np.sqrt((values**2).mean())), float(np.abs(values).max())
        )


def whole_landmarks(bones: Mapping[str, Surface], side: str) -> LandmarkSet:
    """Landmarks of a leg whose shafts reach far enough to be shortened. Raises InputError where they do not, and as find_landmarks."""
    landmarks = find_landmarks(bones, side)
    for name in ("femur", "tibia"):
        shaft = landmarks.shafts.get(name)
        if name in bones and (shaft is None or shaft.reach_in_widths < _SMALLEST_SHARE_SEEN * FARTHEST):
            raise InputError(f"The {name} has too short a shaft to be shortened: give one of at least 120 mm.")
    return landmarks


def shortened_differences(
    bones: Mapping[str, Surface], side: str, whole: LandmarkSet
) -> dict[str, dict[float, dict[str, float]]]:
    """Bone whose shaft is shortened -> reach in widths -> measurement -> its value minus that with the whole stretch of shaft."""
    truth = measure(whole)
    found: dict[str, dict[float, dict[str, float]]] = {}
    for name, shaft in whole.shafts.items():
        found[name] = {}
        for share in REACHES:
            short = measure(find_landmarks(bones, side, reach={name: share * shaft.width}))
            errors = {key: difference(item, truth[key]) for key, item in short.items()}
            found[name][share] = {key: value for key, value in errors.items() if value is not None}
    return found


def table_of(legs: Iterable[tuple[Mapping[str, Surface], str]]) -> dict[str, Any]:
    """The table as plain values for JSON.

    Parameters
    ----------
    legs: surfaces by bone name (LPS mm) and side of each.
    """
    errors: dict[str, dict[str, dict[float, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    mechanical: dict[str, list[float]] = defaultdict(list)
    count = 0
    for bones, side in legs:
        whole = whole_landmarks(bones, side)
        values = measure(whole)
        for name, other in _MECHANICAL.items():
            gap = difference(values[other], values[name])
            if gap is not None:
                mechanical[name].append(gap)
        for bone, by_reach in shortened_differences(bones, side, whole).items():
            for share, differences in by_reach.items():
                for name, value in differences.items():
                    errors[bone][name][share].append(value)
        count += 1
    return {
        "schema": SCHEMA,
        "legs": count,
        "reach_is": "widths of the bone from its joint surface to the end of the shaft that is seen",
        "error_is": f"value with the shaft up to that reach minus value with the shaft up to {FARTHEST} widths",
        "short_shaft": {
            bone: {
                name: {str(share): asdict(Spread.of(differences)) for share, differences in sorted(by_reach.items())}
                for name, by_reach in by_name.items()
                if max(Spread.of(differences).worst for differences in by_reach.values()) > _NEGLIGIBLE
            }
            for bone, by_name in errors.items()
        },
        "mechanical_minus_anatomical": {
            f"{_MECHANICAL[name]} - {name}": asdict(Spread.of(gaps)) for name, gaps in mechanical.items()
        },
    }


def _read(path: Path) -> Mapping[str, Surface]:
    """Bones of a folder, or one file of a femur."""
    from SSRKDCore.evaluation.bone_sets import read_bones
    from SSRKDCore.surface_files import read_surface

    return read_bones(path).surfaces if path.is_dir() else {"femur": read_surface(path)}


def _legs(
    paths: Sequence[tuple[Path, str]], progress: Callable[[float, str], None]
) -> Iterable[tuple[Mapping[str, Surface], str]]:
    for index, (path, side) in enumerate(paths):
        progress(index / len(paths), f"{path.name} ({index + 1} of {len(paths)})")
        yield _read(path), side


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Shorten the shafts of whole legs and write how far each measurement moves."""
    from SSRKDCore.console import progress_bar, say
    from SSRKDCore.json_files import write_json

    parser = argparse.ArgumentParser(description=main.__doc__)
    for side in ("right", "left"):
        parser.add_argument(
            f"--{side}",
            nargs="+",
            default=[],
            type=Path,
            metavar="PATH",
            help=f"{side} legs: folders of bones, or files of a femur",
        )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="JSON file for the table")
    arguments = parser.parse_args(words)
    paths = [(path, side) for side in ("right", "left") for path in getattr(arguments, side)]
    if not paths:
        raise InputError("There is no leg: name some with --right and --left.")
    with progress_bar("short shafts") as progress:
        table = table_of(_legs(paths, progress))
    write_json(arguments.out, table)
    for bone, by_name in table["short_shaft"].items():
        for name, by_reach in by_name.items():
            row = ", ".join(
                f"{share}: mean {item['mean']:+.2f}, rms {item['rms']:.2f}, worst {item['worst']:.2f}"
                for share, item in by_reach.items()
            )
            say(f"{bone} shortened, {name:<16} ({next(iter(by_reach.values()))['bones']} bones) {row}")
    for name, item in table["mechanical_minus_anatomical"].items():
        say(f"{name}: mean {item['mean']:+.2f}, sd {item['sd'] or 0.0:.2f}, {item['bones']} legs")
    return table


if __name__ == "__main__":
    from SSRKDCore.training.program import exit_code_of

    sys.exit(exit_code_of("short_shaft_errors", main, resumable=False))
