"""Every choice of the panel, kept in the scene: a saved scene reopens where it was left."""

# No postponed annotations here: the wrapper reads the types of the class.

import enum
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class _Labelled(enum.Enum):
    """Choices whose values are the engine's words, and whose labels are the user's."""

    def label(self) -> str:
        return self._labels()[self]

    @classmethod
    def _labels(cls) -> dict:
        raise NotImplementedError


class Side(_Labelled):
    FILES = ""
    RIGHT = "right"
    LEFT = "left"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.FILES: "As the files say", cls.RIGHT: "Right knee", cls.LEFT: "Left knee"}


class Geometry(_Labelled):
    FILES = ""
    ROOM = "room"
    C_ARM = "c_arm"
    PAPER = "paper"
    RIG_FILE = "file"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.FILES: "As the files say (DICOM, or a rig.json beside them)",
            cls.ROOM: "Preset: radiography room",
            cls.C_ARM: "Preset: C-arm",
            cls.PAPER: "Preset: rig of the paper",
            cls.RIG_FILE: "Calibrated rig file (rig.json)",
        }


class Resolution(_Labelled):
    COARSE = 128
    STANDARD = 256
    FINE = 384

    @classmethod
    def _labels(cls) -> dict:
        return {cls.COARSE: "128 (quick look)", cls.STANDARD: "256 (standard)", cls.FINE: "384 (fine)"}


class Device(_Labelled):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.AUTO: "Best available",
            cls.CPU: "CPU",
            cls.CUDA: "NVIDIA GPU (CUDA)",
            cls.MPS: "Apple GPU (MPS)",
        }


class Alignment(_Labelled):
    NONE = "none"
    KNEE = "knee"
    BONE = "bone"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.NONE: "None: compare where they are",
            cls.KNEE: "The whole knee (ICP)",
            cls.BONE: "Each bone by itself (ICP)",
        }


class DistanceKind(_Labelled):
    SIGNED = "signed_distance_mm"
    ABSOLUTE = "absolute_distance_mm"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.SIGNED: "Signed: outside +, inside \u2212", cls.ABSOLUTE: "Absolute"}


class Frame(_Labelled):
    LPS = "LPS"
    RAS = "RAS"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.LPS: "LPS (3-matic, Mimics, DICOM)", cls.RAS: "RAS (Slicer's own axes)"}


@parameterNodeWrapper
class BiplanarBoneReconParameterNode:
    """What the panel shows. Nodes are references, the rest attributes of the module's parameter node."""

    apVolume: vtkMRMLScalarVolumeNode
    lateralVolume: vtkMRMLScalarVolumeNode
    side: Side = Side.FILES
    geometry: Geometry = Geometry.FILES
    rigFile: str = ""

    modelFolder: str = ""
    resolution: Resolution = Resolution.STANDARD
    device: Device = Device.AUTO

    reconstruction: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode
    matchFemur: str = ""
    matchTibia: str = ""
    matchFibula: str = ""
    matchPatella: str = ""
    alignment: Alignment = Alignment.NONE
    distanceKind: DistanceKind = DistanceKind.SIGNED
    distanceRange: Annotated[float, WithinRange(0.1, 50.0)] = 3.0

    exported: vtkMRMLSegmentationNode
    exportFolder: str = ""
    patientId: str = ""
    exportStl: bool = True
    exportObj: bool = False
    exportPly: bool = False
    exportScene: bool = False
    exportFrame: Frame = Frame.LPS
    limitTriangles: bool = False
    triangles: Annotated[int, WithinRange(100, 1000000)] = 20000
