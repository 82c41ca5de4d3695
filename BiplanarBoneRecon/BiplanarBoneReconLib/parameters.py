"""Every choice of the panel, kept in the scene: a saved scene reopens where it was left."""

# No postponed annotations here: the wrapper reads the types of the class.

import enum
from typing import Annotated

from slicer import (
    vtkMRMLDisplayableNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsPlaneNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
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
        return {cls.FILES: _("As the files say"), cls.RIGHT: _("Right knee"), cls.LEFT: _("Left knee")}


class Geometry(_Labelled):
    FILES = ""
    ROOM = "room"
    C_ARM = "c_arm"
    PAPER = "paper"
    RIG_FILE = "file"
    SCENE = "scene"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.FILES: _("As the files say (DICOM, or a rig.json beside them)"),
            cls.ROOM: _("Preset: radiography room"),
            cls.C_ARM: _("Preset: C-arm"),
            cls.PAPER: _("Preset: rig of the paper"),
            cls.RIG_FILE: _("Calibrated rig file (rig.json)"),
            cls.SCENE: _("Calibrated in this scene (ball, ruler, or bones)"),
        }


class View(_Labelled):
    AP = "ap"
    LATERAL = "lateral"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.AP: _("AP"), cls.LATERAL: _("Lateral")}


class CalibrationTarget(_Labelled):
    BALL = "ball"
    TICKS = "ticks"
    LENGTH = "length"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.BALL: _("Ball of diameter"),
            cls.TICKS: _("Ruler, a tick every"),
            cls.LENGTH: _("Ruler of length"),
        }


class Resolution(_Labelled):
    COARSE = 128
    STANDARD = 256
    FINE = 384

    @classmethod
    def _labels(cls) -> dict:
        return {cls.COARSE: _("128 (quick look)"), cls.STANDARD: _("256 (standard)"), cls.FINE: _("384 (fine)")}


class Device(_Labelled):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.AUTO: _("Best available"),
            cls.CPU: _("CPU"),
            cls.CUDA: _("NVIDIA GPU (CUDA)"),
            cls.MPS: _("Apple GPU (MPS)"),
        }


class BoneColors(_Labelled):
    """Values are the point arrays of the engine's files with uncertainty."""

    PLAIN = ""
    INTERVAL = "interval95_mm"
    EXPECTED = "expected_error_mm"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.PLAIN: _("Bone"),
            cls.INTERVAL: _("95 % interval (\u00b1 mm)"),
            cls.EXPECTED: _("Expected error (mm)"),
        }


class Alignment(_Labelled):
    NONE = "none"
    KNEE = "knee"
    BONE = "bone"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.NONE: _("None: compare where they are"),
            cls.KNEE: _("The whole knee (ICP)"),
            cls.BONE: _("Each bone by itself (ICP)"),
        }


class DistanceKind(_Labelled):
    SIGNED = "signed_distance_mm"
    ABSOLUTE = "absolute_distance_mm"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.SIGNED: _("Signed: outside +, inside \u2212"), cls.ABSOLUTE: _("Absolute")}


class Osteotomy(_Labelled):
    OPENING = "medial-opening"
    CLOSING = "lateral-closing"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.OPENING: _("Medial opening wedge"), cls.CLOSING: _("Lateral closing wedge")}


class Target(_Labelled):
    FUJISAWA = "fujisawa"
    HKA = "hka"
    ANGLE = "angle"

    @property
    def option(self) -> str:
        """The engine's option for it."""
        return "--angle" if self is Target.ANGLE else f"--target-{self.value}"

    @classmethod
    def _labels(cls) -> dict:
        return {
            cls.FUJISAWA: _("Mechanical axis at (% from medial)"),
            cls.HKA: _("Hip-knee-ankle angle (180\u00b0 straight)"),
            cls.ANGLE: _("The wedge itself (no hip and ankle needed)"),
        }


class Frame(_Labelled):
    LPS = "LPS"
    RAS = "RAS"

    @classmethod
    def _labels(cls) -> dict:
        return {cls.LPS: _("LPS (3-matic, Mimics, DICOM)"), cls.RAS: _("RAS (Slicer's own axes)")}


@parameterNodeWrapper
class BiplanarBoneReconParameterNode:
    """What the panel shows. Nodes are references, the rest attributes of the module's parameter node."""

    apVolume: vtkMRMLScalarVolumeNode
    lateralVolume: vtkMRMLScalarVolumeNode
    side: Side = Side.FILES
    geometry: Geometry = Geometry.FILES
    rigFile: str = ""
    calibrationTarget: CalibrationTarget = CalibrationTarget.BALL
    calibrationView: View = View.AP
    ballDiameter: Annotated[float, WithinRange(2.0, 80.0)] = 25.4
    tickSpacing: Annotated[float, WithinRange(0.5, 50.0)] = 10.0
    rulerLength: Annotated[float, WithinRange(5.0, 1000.0)] = 100.0
    calibrationOffsetKnown: bool = False
    calibrationOffset: Annotated[float, WithinRange(-400.0, 400.0)] = 0.0
    turnKnownTo: Annotated[float, WithinRange(0.1, 15.0)] = 3.0
    shiftKnownTo: Annotated[float, WithinRange(0.1, 60.0)] = 8.0
    knownBones: vtkMRMLDisplayableNode

    modelFolder: str = ""
    resolution: Resolution = Resolution.STANDARD
    device: Device = Device.AUTO
    refine: bool = True
    prepare: bool = True
    boneColors: BoneColors = BoneColors.PLAIN
    boneColorsRange: Annotated[float, WithinRange(0.1, 50.0)] = 3.0

    reconstruction: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode
    matchFemur: str = ""
    matchTibia: str = ""
    matchFibula: str = ""
    matchPatella: str = ""
    alignment: Alignment = Alignment.NONE
    distanceKind: DistanceKind = DistanceKind.SIGNED
    distanceRange: Annotated[float, WithinRange(0.1, 50.0)] = 3.0

    planned: vtkMRMLSegmentationNode
    osteotomy: Osteotomy = Osteotomy.OPENING
    biplanar: bool = True
    target: Target = Target.FUJISAWA
    fujisawa: Annotated[float, WithinRange(0.0, 100.0)] = 62.5
    hipKneeAnkle: Annotated[float, WithinRange(160.0, 200.0)] = 183.0
    wedgeAngle: Annotated[float, WithinRange(0.1, 30.0)] = 8.0
    cutByHand: bool = False
    followDrags: bool = True
    landmarks: vtkMRMLMarkupsFiducialNode
    measurements: vtkMRMLTableNode
    cutPlane: vtkMRMLMarkupsPlaneNode
    planTable: vtkMRMLTableNode
    realBones: vtkMRMLSegmentationNode

    exported: vtkMRMLSegmentationNode
    exportFolder: str = ""
    patientId: str = ""
    exportStl: bool = True
    exportObj: bool = False
    exportPly: bool = False
    exportPlan: bool = False
    exportScene: bool = False
    exportFrame: Frame = Frame.LPS
    limitTriangles: bool = False
    triangles: Annotated[int, WithinRange(100, 1000000)] = 20000
