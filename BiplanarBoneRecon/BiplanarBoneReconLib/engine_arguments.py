"""Command lines of `ssrkd` for what the panel asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .parameters import Geometry
from .problems import Problem
from .radiograph_sources import STORED_FILE, RadiographFile, calibratedRig, radiographFile, storedRig

_CALIBRATED_FILE = "calibrated_rig.json"


def pairArguments(ap: Any, lateral: Any, side: str, geometry: Geometry, rigFile: str, folder: Path) -> list[str]:
    """Which radiographs, which side and which geometry."""
    files = _files(ap, lateral, folder)
    words = _images(files, side)
    rig = _calibrated(ap, lateral, folder) if geometry is Geometry.SCENE else _rig(geometry, rigFile)
    if rig is None:
        exported = any(file.exported for file in files.values())
        found = storedRig(ap, lateral, folder) if exported else _rigBeside([file.path for file in files.values()])
        rig = None if found is None else str(found)
    return words if rig is None else [*words, f"--rig={rig}"]


def imageArguments(ap: Any, lateral: Any, side: str, folder: Path) -> list[str]:
    """Which radiographs and which side, for a command whose geometry comes from elsewhere."""
    return _images(_files(ap, lateral, folder), side)


def geometryInWords(arguments: list[str]) -> str:
    """Where the geometry of a command line comes from."""
    given = next((word.removeprefix("--rig=") for word in arguments if word.startswith("--rig=")), None)
    if given is None:
        return _("Geometry: as the files say.")
    if Path(given).name == _CALIBRATED_FILE:
        return _("Geometry: calibrated in this scene.")
    if Path(given).name == STORED_FILE:
        return _("Geometry: as the radiographs stand in this scene, without their files.")
    if Path(given).suffix != ".json":
        return _("Geometry: preset {name}.").format(name=given)
    return _("Geometry: calibrated, {name}.").format(name=Path(given).name)


def _files(ap: Any, lateral: Any, folder: Path) -> dict[str, RadiographFile]:
    return {"ap": radiographFile(ap, folder), "lateral": radiographFile(lateral, folder)}


def _images(files: dict[str, RadiographFile], side: str) -> list[str]:
    words = [f"--{view}={file.path}" for view, file in files.items()]
    words += intensityArguments(list(files.values()))
    return [*words, f"--side={side}"] if side else words


def _calibrated(ap: Any, lateral: Any, folder: Path) -> str:
    """The rig that this pair was calibrated to in the scene, as a file."""
    rig = calibratedRig(ap, lateral)
    if rig is None:
        raise Problem(
            _(
                "These two radiographs were not calibrated together: detect and accept a ball or ruler, estimate and accept the "
                "second view's position, or choose another geometry."
            )
        )
    path = folder / _CALIBRATED_FILE
    path.write_text(json.dumps(rig), encoding="utf-8")
    return str(path)


def _rigBeside(paths: list[Path]) -> Path | None:
    """A rig.json in the folder that holds all radiographs."""
    folders = {path.parent for path in paths}
    beside = folders.pop() / "rig.json"
    return beside if not folders and beside.is_file() else None


def intensityArguments(files: list[RadiographFile]) -> list[str]:
    """What the pixel values are, where all files agree that it is something else than what they say themselves."""
    kinds = {file.intensity for file in files}
    return [f"--intensity={kinds.pop()}"] if len(kinds) == 1 and kinds != {"auto"} else []


def _rig(geometry: Geometry, rigFile: str) -> str | None:
    if geometry is Geometry.RIG_FILE:
        if not rigFile.strip():
            raise Problem(_("Choose the rig file, or another source of the geometry."))
        return rigFile.strip()
    return geometry.value or None
