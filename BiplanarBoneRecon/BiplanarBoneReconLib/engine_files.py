"""Where the engine and its data lie: beside the module when installed, one folder up in a checkout."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from .problems import Problem

MODULE_FOLDER = Path(__file__).resolve().parent.parent


def engineFolder() -> Path:
    """The folder that holds the package SSRKDCore. Raises Problem where the installation lacks it."""
    for folder in (MODULE_FOLDER, MODULE_FOLDER.parent):
        if (folder / "SSRKDCore" / "__init__.py").is_file():
            return folder
    raise Problem(_("The engine SSRKDCore is missing beside the module: install the extension again."))


def sampleCaseFolder() -> Path:
    """The bundled sample: two radiographs, their rig, and the true bones. Raises Problem where it is missing."""
    for folder in (engineFolder() / "SSRKDCore" / "resources", engineFolder() / "Resources"):
        if (folder / "SampleCase" / "case.json").is_file():
            return folder / "SampleCase"
    raise Problem(_("The sample case is missing beside the engine: install the extension again."))


def pythonExecutable() -> str:
    """The Python that runs the engine: Slicer's own console interpreter, else the one that runs this."""
    return shutil.which("PythonSlicer") or sys.executable


def newWorkFolder() -> Path:
    """An empty folder for the files of one job. Raises Problem when the disk is full or cannot be written."""
    try:
        parent = Path(slicer.app.temporaryPath)
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="BiplanarBoneRecon-", dir=parent))
    except OSError as error:
        raise Problem(
            _(
                "No temporary folder can be made in {folder} ({reason}): free some space, or choose another "
                "temporary folder in Slicer's settings."
            ).format(folder=slicer.app.temporaryPath, reason=error.strerror)
        ) from error


def removeWorkFolder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def engineEnvironment() -> dict[str, str]:
    """Variables that the engine's process needs beside Slicer's own."""
    paths = [str(engineFolder()), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        # File names of any language, whatever the system's code page.
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
