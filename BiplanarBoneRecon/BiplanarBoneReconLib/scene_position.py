"""Where the lateral radiograph was taken, as the bones in both images tell it: an estimate, and what of it the scene has accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from .problems import Problem
from .radiograph_sources import calibratedRig, standingRig
from .scene_radiographs import calibrateTo
from .scene_transaction import SceneTransaction
from .texts import attachedJson, attachJson

#: Role under which a lateral radiograph keeps its accepted estimate, and the one under which it refers to the AP radiograph of that.
_POSITION, _BESIDE = "BiplanarBoneRecon.Position", "BiplanarBoneRecon.PositionBeside"


@dataclass(frozen=True)
class PositionEstimate:
    """An estimate for two radiographs. Nothing of it is in the scene until it is accepted.

    ap, lateral: IDs of their nodes.
    stood: the rig.json that both stood in when it was made; None where they stood in none.
    start: the one that it started from. rig: that one with the lateral view moved.
    record: the engine's calibration record.
    bones: name of the node whose bones were known before; "" where their shape comes from the radiographs.
    """

    ap: str
    lateral: str
    stood: dict[str, Any] | None
    start: dict[str, Any]
    rig: dict[str, Any]
    record: dict[str, Any]
    bones: str = ""

    def isOf(self, ap: Any, lateral: Any) -> bool:
        """Whether it is of these radiographs, and of the rig that they stand in."""
        if ap is None or lateral is None or (ap.GetID(), lateral.GetID()) != (self.ap, self.lateral):
            return False
        # Standing where it started from, they have only been shown since.
        return standingRig(ap, lateral) in (self.stood, self.start)


def acceptPosition(ap: Any, lateral: Any, estimate: PositionEstimate) -> None:
    """Let the pair stand where an estimate puts it, and keep that as its geometry in this scene.

    Raises Problem where the estimate is of another pair, or of another rig.
    """
    if not estimate.isOf(ap, lateral):
        raise Problem(
            _("The estimate is not of these radiographs as they stand now: press Estimate its position again.")
        )
    with SceneTransaction(slicer.mrmlScene):
        calibrateTo({"ap": ap, "lateral": lateral}, estimate.rig)
        kept = {"start": estimate.start, "rig": estimate.rig, "record": estimate.record, "bones": estimate.bones}
        attachJson(lateral, _POSITION, f"{lateral.GetName()} position", kept).SetHideFromEditors(True)
        lateral.SetNodeReferenceID(_BESIDE, ap.GetID())


def acceptedPosition(ap: Any, lateral: Any) -> dict[str, Any] | None:
    """`start`, `rig`, `record` and `bones` of the estimate that this pair's calibrated rig is; None where that comes from elsewhere."""
    if ap is None or lateral is None or lateral.GetNodeReferenceID(_BESIDE) != ap.GetID():
        return None
    kept = attachedJson(lateral, _POSITION)
    # A ball that was accepted since has changed the rig.
    return kept if kept and kept["rig"] == calibratedRig(ap, lateral) else None
