"""Files for other programs: where they go and what the panel says about them."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .problems import Problem

#: Bytes that leave room for side, bone, date and frame in a file's name.
_LONGEST_PATIENT = 100


def exportFolder(parent: str, patient: str, side: str, frame: str) -> Path:
    """A folder that does not exist yet inside the chosen one: P001_left_2026-01-31_LPS. Raises Problem for an unusable choice."""
    if not parent.strip():
        raise Problem(_("Choose the folder to export to."))
    try:
        chosen = Path(parent.strip()).expanduser()
        usable = chosen.is_dir()
    except (OSError, RuntimeError):
        # Nobody of that name ("~somebody"), or a folder that nobody may look into.
        chosen, usable = Path(parent.strip()), False
    if not usable:
        raise Problem(_("{chosen} is not a folder: choose one that exists.").format(chosen=chosen))
    if len(fileWord(patient).encode()) > _LONGEST_PATIENT:
        raise Problem(
            _("The patient ID is too long for names of files: shorten it to {count} letters.").format(
                count=_LONGEST_PATIENT
            )
        )
    stem = "_".join(word for word in (fileWord(patient), side, date.today().isoformat(), frame) if word)
    number = 1
    while (folder := chosen / (stem if number == 1 else f"{stem}_{number}")).exists():
        number += 1
    return folder


def fileWord(text: str) -> str:
    """The text with what no file name may hold replaced by hyphens."""
    return re.sub(r"[^\w.+-]+", "-", text.strip()).strip("-.")


def saveScene(path: Path, workFolder: Path) -> None:
    """Save the whole scene as .mrb: written in the work folder, then moved. Raises Problem when it cannot be written."""
    # Slicer fails on names that begin with a dot, so the unfinished file lies elsewhere under its final name.
    written = workFolder / "scene" / path.name
    written.parent.mkdir()
    if not slicer.mrmlScene.WriteToMRB(str(written)) or not written.is_file():
        raise Problem(_("{path} cannot be written: free some space, or choose another folder.").format(path=path))
    shutil.move(written, path)


def reportInWords(report: dict[str, Any]) -> str:
    """The mesh report as HTML for the panel."""
    rows = []
    for bone, row in report["bones"].items():
        check = row["check"]
        problems = check["problems"]
        state = _("sound: closed, manifold, no self-intersection") if not problems else f"<b>{'; '.join(problems)}</b>"
        words = [_("{bone}: {count:,} triangles").format(bone=bone.capitalize(), count=check["triangles"])]
        if not row["budget_reached"]:
            words.append(_("more than asked: with fewer, it would fold, pass through itself or lose a hole"))
        if row["deviation_mm"]:
            words.append(_("moved by at most {distance:.3f} mm").format(distance=row["deviation_mm"]))
        rows.append(f"<li>{', '.join(words)}; {state}</li>")
    return "<ul style='margin-left:-20px'>" + "".join(rows) + "</ul>"
