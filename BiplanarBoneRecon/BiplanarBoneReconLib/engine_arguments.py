"""Command lines of `ssrkd` for what the panel asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .parameters import Geometry
from .radiograph_sources import RadiographFile, radiographFile, storedRig


def pairArguments(ap: Any, lateral: Any, side: str, geometry: Geometry, rigFile: str, folder: Path) -> list[str]:
    """Which radiographs, which side and which geometry."""
    files = {"ap": radiographFile(ap, folder), "lateral": radiographFile(lateral, folder)}
    words = [f"--{view}={file.path}" for view, file in files.items()]
    words += intensityArguments(list(files.values()))
    if side:
        words.append(f"--side={side}")
    rig = _rig(geometry, rigFile)
    if rig is None:
        exported = any(file.exported for file in files.values())
        found = storedRig(ap, lateral, folder) if exported else _rigBeside([file.path for file in files.values()])
        rig = None if found is None else str(found)
    return words if rig is None else [*words, f"--rig={rig}"]


def geometryInWords(arguments: list[str]) -> str:
    """Where the geometry of a command line comes from."""
    given = next((word.removeprefix("--rig=") for word in arguments if word.startswith("--rig=")), None)
    if given is None:
        return "Geometry: as the files say."
    if Path(given).suffix != ".json":
        return f"Geometry: preset {given}."
    return f"Geometry: calibrated, {Path(given).name}."


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
    from .problems import Problem

    if geometry is Geometry.RIG_FILE:
        if not rigFile.strip():
            raise Problem("Choose the rig file, or another source of the geometry.")
        return rigFile.strip()
    return geometry.value or None
