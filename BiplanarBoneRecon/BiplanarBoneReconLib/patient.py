"""The patient ID of the panel: that of the bones that are exported, unless somebody types another one for this patient."""

from __future__ import annotations

from .parameters import BiplanarBoneReconParameterNode
from .scene_bones import PATIENT_ATTRIBUTE
from .texts import REPORT

#: Attribute of the parameter node: the patient for whom its ID was read or typed.
_READ_FOR = "BiplanarBoneRecon.PatientReadFor"


def readPatient(node: BiplanarBoneReconParameterNode, patientId: str) -> None:
    """Take the ID that radiographs state, where none stands there yet."""
    if patientId and not node.patientId:
        node.parameterNode.SetAttribute(_READ_FOR, patientId)
        node.patientId = patientId


def followPatient(node: BiplanarBoneReconParameterNode) -> None:
    """Take the ID of the bones to be exported, where they are of another patient than those before."""
    if node.exported.GetNodeReference(REPORT) is None:
        return  # Not reconstructed here: nobody knows whose they are.
    own, before = node.exported.GetAttribute(PATIENT_ATTRIBUTE) or "", node.parameterNode.GetAttribute(_READ_FOR)
    if own == before:
        return
    node.parameterNode.SetAttribute(_READ_FOR, own)
    if before is not None or not node.patientId:
        node.patientId = own
