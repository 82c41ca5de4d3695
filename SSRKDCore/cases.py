"""Cases on disk: radiographs, rig, and what is known of the truth; one folder a case (schema ssrkd-case/1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SSRKDCore.anatomy import BONE_NAMES, SIDES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import read_json, write_json

SCHEMA = "ssrkd-case/1"
CASE_FILE = "case.json"
INTENSITIES = ("line_integral", "raw", "presentation")


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes
    ----------
    id: its name.
    side: "right" or "left".
    rig: the calibrated views; their names are the keys of `radiographs`.
    radiographs: view name -> image file.
    intensity: what the pixel values are: "line_integral" (-log(I/I0)), "raw" (proportional to I), or "presentation".
    reference: bone name -> surface file, a .seg.nrrd file, or None when the truth is unknown; bones may be missing.
    ct: CT volume in HU, or None.
    provenance: where it comes from, free form.
    folder: where it lies.
    reference_extent: bone -> (lowest z, highest z) in mm between which its reference is anatomy, and not the cut end of a scan.
    """

    id: str
    side: str
    rig: Rig
    radiographs: Mapping[str, Path]
    intensity: str
    reference: Mapping[str, Path] | Path | None
    ct: Path | None
    provenance: Mapping[str, Any]
    folder: Path
    reference_extent: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _inside(folder: Path, name: Any, what: str) -> Path:
    """A file named by a case, which must lie in the case's folder and exist."""
    if not isinstance(name, str) or not name:
        raise InputError(f"{folder / CASE_FILE}: {what} must be a file name: correct the case.")
    path = folder / name
    try:
        inside, exists = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError):  # A name that no file can have: a null character, too long, ...
        inside, exists = True, False
    if not inside:
        raise InputError(
            f"{folder / CASE_FILE}: {what} {name!r} lies outside the case's folder: move the file into it."
        )
    if not exists:
        raise InputError(f"{folder / CASE_FILE}: {what} {name!r} does not exist: restore the file or correct the case.")
    return path


def load_case(folder: str | Path) -> Case:
    """Read one case. Raises InputError, naming the file, for another schema, missing files, or values that disagree."""
    folder = Path(folder)
    path = folder / CASE_FILE
    value = read_json(path, "a case file")
    if value.get("schema") != SCHEMA:
        raise InputError(
            f"{path} has schema {value.get('schema')!r}, and only {SCHEMA!r} is understood: convert the case."
        )
    if not isinstance(value.get("id"), str) or not value["id"]:
        raise InputError(f"{path} has no id: add one.")
    if value.get("side") not in SIDES:
        raise InputError(f"{path} has side {value.get('side')!r}, and it must be right or left: correct it.")
    if value.get("intensity") not in INTENSITIES:
        raise InputError(
            f"{path} has intensity {value.get('intensity')!r}, and it must be one of {', '.join(INTENSITIES)}: correct it."
        )
    rig = Rig.load(_inside(folder, value.get("rig"), "rig"))
    radiographs = value.get("radiographs")
    if not isinstance(radiographs, dict) or set(radiographs) != {view.name for view in rig.views}:
        raise InputError(
            f"{path}: radiographs must name one file for each view of the rig ({', '.join(v.name for v in rig.views)}): correct it."
        )
    images = {view.name: _inside(folder, radiographs[view.name], "radiograph") for view in rig.views}
    reference: Mapping[str, Path] | Path | None
    given = value.get("reference")
    if given is None:
        reference = None
    elif isinstance(given, str):
        reference = _inside(folder, given, "reference")
    elif isinstance(given, dict):
        unknown = set(given) - set(BONE_NAMES)
        if unknown:
            raise InputError(
                f"{path}: reference names {', '.join(sorted(unknown))}, and the bones are {', '.join(BONE_NAMES)}: correct it."
            )
        reference = {
            name: _inside(folder, given[name], "reference") for name in BONE_NAMES if given.get(name) is not None
        }
    else:
        raise InputError(f"{path}: reference must be a .seg.nrrd file, a file for each bone, or null: correct it.")
    ct = None if value.get("ct") is None else _inside(folder, value["ct"], "ct")
    provenance = value.get("provenance") if isinstance(value.get("provenance"), dict) else {}
    return Case(
        value["id"],
        value["side"],
        rig,
        images,
        value["intensity"],
        reference,
        ct,
        provenance or {},
        folder,
        _extent(value, path),
    )


def _extent(value: Mapping[str, Any], path: Path) -> dict[str, tuple[float, float]]:
    """Optional `reference_extent`: bone -> [lowest z, highest z] in mm between which the reference is anatomy, not a cut end."""
    extent = value.get("reference_extent") or {}
    try:
        found = {str(name): (float(pair[0]), float(pair[1])) for name, pair in extent.items()}
    except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
        raise InputError(
            f"{path}: reference_extent must give [lowest z, highest z] in mm for a bone: correct it."
        ) from error
    if any(name not in BONE_NAMES or not low < high for name, (low, high) in found.items()):
        raise InputError(f"{path}: reference_extent must give [lowest z, highest z] in mm for a bone: correct it.")
    return found


def find_cases(folder: str | Path) -> list[Path]:
    """Folders of cases: the folder itself, or those directly below it, that hold a case.json, sorted by name.

    Hidden folders are left out: `complete_folder` writes in one, which stays behind when the writer was killed.

    Raises InputError when there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name a folder of cases.")
    if (folder / CASE_FILE).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{CASE_FILE}") if not path.parent.name.startswith("."))
    if not found:
        raise InputError(
            f"{folder} holds no case: each case is a folder with a {CASE_FILE}; make one with `ssrkd radiograph`."
        )
    return found


def case_content(case: Case, labelled: bool = True) -> str:
    """Changes when the radiographs, the rig, or the truth of a case do; the CT takes the truth's place where it is not `labelled`."""
    files = [case.folder / CASE_FILE, *case.radiographs.values()]
    if labelled:
        files += [case.reference] if isinstance(case.reference, Path) else list((case.reference or {}).values())
    elif case.ct is not None:
        files.append(case.ct)
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(str(case.rig.to_dict()).encode())
    return digest.hexdigest()[:32]


def save_case(
    folder: str | Path,
    id: str,
    side: str,
    rig: Rig,
    radiographs: Mapping[str, str],
    intensity: str,
    reference: Mapping[str, str] | str | None = None,
    ct: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    reference_extent: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Write rig.json and case.json of a case whose other files (named relative to `folder`) are already there.

    Raises InputError when what was written cannot be read back.
    """
    folder = Path(folder)
    rig.save(folder / "rig.json")
    write_json(
        folder / CASE_FILE,
        {
            "schema": SCHEMA,
            "id": id,
            "side": side,
            "rig": "rig.json",
            "radiographs": dict(radiographs),
            "intensity": intensity,
            "reference": dict(reference) if isinstance(reference, Mapping) else reference,
            "ct": ct,
            "provenance": dict(provenance or {}),
        }
        | ({"reference_extent": dict(reference_extent)} if reference_extent else {}),
    )
    load_case(folder)
