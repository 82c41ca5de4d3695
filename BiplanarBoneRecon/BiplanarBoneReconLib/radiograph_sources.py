"""From a volume of the scene to a file that the engine reads.

The file that the volume came from is preferred: the engine decides polarity and spacing from the DICOM object itself, where
Slicer's reader inverts MONOCHROME1 images and prefers the detector's spacing to a calibrated one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .problems import Problem
from .texts import CALIBRATED_RIG, RIG, attachedJson

SOURCE_ATTRIBUTE = "BiplanarBoneRecon.SourceFile"
INTENSITY_ATTRIBUTE = "BiplanarBoneRecon.Intensity"
_DIGEST_ATTRIBUTE = "BiplanarBoneRecon.SourceDigest"
#: Name of the file that `storedRig` writes.
STORED_FILE = "stored_rig.json"
VIEWS = ("ap", "lateral")
#: As they stand in sentences.
VIEW_NAMES = {"ap": _("AP"), "lateral": _("lateral")}


@dataclass(frozen=True)
class RadiographFile:
    """path: what the engine reads. exported: it was written from the scene, because the original file is gone."""

    path: Path
    intensity: str
    exported: bool


def checkPair(ap: Any, lateral: Any) -> None:
    """Raise Problem unless the two nodes can be a pair of radiographs."""
    for node, view in ((ap, "ap"), (lateral, "lateral")):
        if node is None:
            raise Problem(
                _("Choose the {view} radiograph first: from the scene, or with its Load button.").format(
                    view=VIEW_NAMES[view]
                )
            )
        checkRadiograph(node)
    if ap.GetID() == lateral.GetID():
        raise Problem(
            _("{ap} is chosen for both views: choose one AP and one lateral radiograph.").format(ap=ap.GetName())
        )


def checkRadiograph(node: Any) -> None:
    """Raise Problem unless a volume holds exactly one image."""
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise Problem(_("{node} holds no image: load the radiograph again.").format(node=node.GetName()))
    size = sorted(image.GetDimensions())
    if size[0] > 1:
        counts = " x ".join(str(count) for count in image.GetDimensions())
        raise Problem(
            _("{node} is a volume of {size} voxels, not a radiograph: choose a single X-ray image.").format(
                node=node.GetName(), size=counts
            )
        )


def radiographFile(node: Any, folder: Path) -> RadiographFile:
    """The file of a radiograph, written into `folder` where the original is gone."""
    intensity = node.GetAttribute(INTENSITY_ATTRIBUTE)
    original = _originalFile(node)
    if original is not None:
        return RadiographFile(original, "auto", False)
    path = folder / f"{node.GetID()}.nrrd"
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        raise Problem(
            _("{node} cannot be written to {folder}: free some space on this disk.").format(
                node=node.GetName(), folder=folder
            )
        )
    return RadiographFile(path, intensity or "auto", True)


def storedRig(ap: Any, lateral: Any, folder: Path) -> Path | None:
    """The rig that both radiographs were placed with, as a file; None where they were not, or not together."""
    rig = standingRig(ap, lateral)
    if rig is None:
        return None
    path = folder / STORED_FILE
    path.write_text(json.dumps(rig), encoding="utf-8")
    return path


def standingRig(ap: Any, lateral: Any) -> dict[str, Any] | None:
    """The rig that both radiographs stand in, None where they stand in none, or not in one."""
    return _commonRig(ap, lateral, RIG)


def calibratedRig(ap: Any, lateral: Any) -> dict[str, Any] | None:
    """The rig that both radiographs were calibrated to, None where they were not, or not together."""
    return _commonRig(ap, lateral, CALIBRATED_RIG)


def _commonRig(ap: Any, lateral: Any, role: str) -> dict[str, Any] | None:
    first, second = (attachedJson(node, role) for node in (ap, lateral))
    return first if first == second else None


def readFrom(node: Any, path: str) -> None:
    """Note the file that a radiograph was read from, as it is now."""
    node.SetAttribute(SOURCE_ATTRIBUTE, path)
    node.SetAttribute(_DIGEST_ATTRIBUTE, _digest(path))


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _isAnotherImage(node: Any, path: str) -> bool:
    """Whether a file is no longer the one that the radiograph was read from: another disc in the drive, an export under the old name."""
    known = node.GetAttribute(_DIGEST_ATTRIBUTE)
    return path == node.GetAttribute(SOURCE_ATTRIBUTE) and known is not None and known != _digest(path)


def _originalFile(node: Any) -> Path | None:
    candidates = [node.GetAttribute(SOURCE_ATTRIBUTE), _dicomFile(node)]
    storage = node.GetStorageNode()
    # A file that Slicer loaded is the radiograph only as long as nobody changed the volume.
    if storage is not None and not node.GetModifiedSinceRead():
        candidates.append(storage.GetFileName())
    for candidate in candidates:
        if not candidate or not Path(candidate).is_file() or _writtenByUs(node, candidate):
            continue
        if not _isAnotherImage(node, candidate):
            return Path(candidate)
    return None


def _writtenByUs(node: Any, path: str) -> bool:
    """Whether a file is a copy of our line integrals, which Slicer wrote with a scene: its geometry is not in the file."""
    return node.GetAttribute(INTENSITY_ATTRIBUTE) is not None and path != node.GetAttribute(SOURCE_ATTRIBUTE)


def _dicomFile(node: Any) -> str | None:
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    return database.fileForInstance(uids[0]) if len(uids) == 1 and database is not None else None
