"""What can lie beside the knee and tell the scale, as the panel's calibration step handles it: a ball, a ruler."""

from __future__ import annotations

from typing import Any, Protocol

from slicer.i18n import tr as _

from .parameters import CalibrationTarget
from .scene_calibration import (
    ballInWords,
    ballPixel,
    ballPoint,
    ballReport,
    isOn,
    placeBall,
    placeRuler,
    rulerInWords,
    rulerLine,
    rulerPixels,
    rulerReport,
)

_TARGET = "target"


class Target(Protocol):
    """Something of known size on the radiograph of a view ("ap" or "lateral")."""

    view: str
    #: mm.
    size: float

    def toPlace(self, radiograph: Any) -> str:
        """What the user has to put onto the radiograph first, in words; "" when nothing is missing."""

    def prepare(self, radiograph: Any) -> None:
        """Put onto the radiograph what `toPlace` asks for."""

    def words(self, radiograph: Any) -> list[str]:
        """Kind of calibration and options for `ssrkd calibrate`, as it stands on the radiograph."""

    def show(self, radiograph: Any, report: dict[str, Any]) -> None:
        """Show and keep what was measured."""

    def report(self, radiograph: Any) -> dict[str, Any]:
        """What was measured of it on this radiograph, {} where nothing was."""

    def found(self, radiograph: Any) -> Target:
        """The target of the size with which it was measured."""

    def inWords(self, radiograph: Any) -> list[str]:
        """What was measured, one sentence a line."""


class BallTarget:
    """A ball of a diameter in mm; where a point stands on the radiograph already, it is looked for near it."""

    def __init__(self, view: str, diameter: float) -> None:
        self.view, self.size = view, diameter

    def toPlace(self, radiograph: Any) -> str:
        return ""

    def prepare(self, radiograph: Any) -> None:
        """Nothing: it is found."""

    def words(self, radiograph: Any) -> list[str]:
        near = ballPixel(self.view, radiograph)
        click = [] if near is None else ["--near", *(f"{value:.2f}" for value in near)]
        return ["ball", f"--diameter={self.size}", *click]

    def show(self, radiograph: Any, report: dict[str, Any]) -> None:
        placeBall(self.view, radiograph, report)

    def report(self, radiograph: Any) -> dict[str, Any]:
        return ballReport(self.view) if isOn(ballPoint(self.view), radiograph) else {}

    def found(self, radiograph: Any) -> BallTarget:
        return BallTarget(self.view, self.report(radiograph)["measured"]["diameter_mm"])

    def inWords(self, radiograph: Any) -> list[str]:
        return ballInWords(self.report(radiograph))


class RulerTarget:
    """A ruler: with a tick every so many mm, which is found unless a line stands on it, or of a length in mm between the line's ends."""

    def __init__(self, view: str, kind: CalibrationTarget, size: float) -> None:
        self.view, self.kind, self.size = view, kind, size

    def toPlace(self, radiograph: Any) -> str:
        if self.kind is CalibrationTarget.TICKS or isOn(rulerLine(self.view), radiograph):
            return ""
        return _("Drag both ends of the line onto the ruler's marks, then press Detect again.")

    def prepare(self, radiograph: Any) -> None:
        placeRuler(self.view, radiograph)

    def words(self, radiograph: Any) -> list[str]:
        ends = rulerPixels(self.view, radiograph)
        along = [] if ends is None else ["--ends", *(f"{value:.2f}" for end in ends for value in end)]
        size = "tick" if self.kind is CalibrationTarget.TICKS else "length"
        return ["ruler", f"--{size}={self.size}", *along]

    def show(self, radiograph: Any, report: dict[str, Any]) -> None:
        asked = {"kind": self.kind.value, "size_mm": self.size}
        placeRuler(self.view, radiograph, report["measured"]["ends"], {**report, _TARGET: asked})

    def report(self, radiograph: Any) -> dict[str, Any]:
        report = rulerReport(self.view) if isOn(rulerLine(self.view), radiograph) else {}
        # The line serves both kinds of rulers: what was measured of one says nothing about the other.
        return report if report.get(_TARGET, {}).get("kind") == self.kind.value else {}

    def found(self, radiograph: Any) -> RulerTarget:
        return RulerTarget(self.view, self.kind, self.report(radiograph)[_TARGET]["size_mm"])

    def inWords(self, radiograph: Any) -> list[str]:
        return rulerInWords(self.report(radiograph))


def chosenTarget(node: Any) -> Target:
    """The target that the panel's parameter node names."""
    view = node.calibrationView.value
    if node.calibrationTarget is CalibrationTarget.BALL:
        return BallTarget(view, node.ballDiameter)
    size = node.tickSpacing if node.calibrationTarget is CalibrationTarget.TICKS else node.rulerLength
    return RulerTarget(view, node.calibrationTarget, size)
