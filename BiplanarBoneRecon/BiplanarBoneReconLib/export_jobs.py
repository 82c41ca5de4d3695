"""Files for other programs as a job: the engine checks the meshes and writes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .engine_job import EngineJob, Step
from .engine_process import EngineProcess
from .export_files import exportFolder, saveScene
from .parameters import Frame
from .problems import Problem
from .reconstruction_doubts import doubtsOf
from .segments import bonesOf, legOf, segmentIds, segmentName, writeModel, writeSurfaces


def exportJob(
    segmentation: Any,
    parent: str,
    formats: Sequence[str],
    frame: Frame = Frame.LPS,
    triangles: int | None = None,
    patient: str = "",
    scene: bool = False,
    checkOnly: bool = False,
    processFactory: Callable[[], EngineProcess] = EngineProcess,
    models: dict[str, Any] | None = None,
) -> EngineJob:
    """Check the meshes and write files; the value is the engine's report with the key `folder`, where the files are, and the key `notes`:
    why the bones are not to be used as they stand, and which segments were left out.

    models: model nodes by the name that their files shall have, written beside the bones.
    """
    if segmentation is None:
        raise Problem(_("Choose the segmentation to export."))
    bones = bonesOf(segmentation)
    if not bones:
        raise Problem(
            _(
                "{segmentation} has no segment named femur, tibia, fibula or patella: name the segments after the "
                "bones."
            ).format(segmentation=segmentation.GetName())
        )
    if not checkOnly and not formats and not scene:
        raise Problem(_("Choose at least one format to export."))
    side = legOf(segmentation, next(iter(bones.values())))
    notes = [*doubtsOf(segmentation), *_leftOut(segmentation, bones)]
    target = None if checkOnly else exportFolder(parent, patient, side, frame.value)

    def prepare(folder: Path) -> None:
        writeSurfaces(segmentation, bones, folder / "bones")
        for name, node in (models or {}).items():
            writeModel(node, folder / f"{name}.ply")

    def export(folder: Path) -> list[str]:
        from datetime import date

        words = ["export", str(folder / "bones"), f"--out={target or folder / 'check'}", f"--frame={frame.value}"]
        words += [f"--format={suffix}" for suffix in formats]
        words += [f"--also={name}={folder / name}.ply" for name in models or {}]
        words += [f"--note={note}" for note in notes]
        words += [f"--patient={patient}", f"--date={date.today().isoformat()}"]
        words += [f"--side={side}"] if side else []
        words += [f"--triangles={triangles}"] if triangles is not None else []
        return [*words, "--check-only"] if checkOnly or not formats else words

    def place(folder: Path, results: list[dict[str, Any]]) -> dict[str, Any]:
        if scene and target is not None:
            try:
                saveScene(target / f"{target.name}.mrb", folder)
            except (Problem, OSError):
                shutil.rmtree(target, ignore_errors=True)
                raise
        return results[0]

    return EngineJob([Step(export)], place, [(_("The segmentation"), segmentation)], processFactory, prepare)


def _leftOut(segmentation: Any, bones: dict[str, str]) -> list[str]:
    """Which segments are not exported, as a sentence, or nothing."""
    names = [segmentName(segmentation, other) for other in segmentIds(segmentation) if other not in bones.values()]
    if not names:
        return []
    words = _(
        "Left out are {segments}: a segment is exported where its name, and that of no other, says femur, tibia, fibula or patella."
    )
    return [words.format(segments=", ".join(names))]
