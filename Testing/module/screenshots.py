"""Takes the README's pictures: the tutorial's five steps in the real panel, with Slicer's own views.

    python Testing/module/screenshots.py [--out Resources/Screenshots] [--resolution-index 1] [--icon]

The panel's frame and the node selectors are drawn by PySide6 and look plainer than in Slicer; what stands in the views, tables and charts
comes from the real scene.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import vtk
from slicer_host.application import host
from slicer_host.panel import Panel

REPOSITORY = Path(__file__).resolve().parents[2]
_PANEL_WIDTH, _HEIGHT, _VIEWS_WIDTH = 470, 860, 1000


class Pictures:
    """Puts panel and views side by side and saves them."""

    def __init__(self, panel: Panel, folder: Path) -> None:
        self.panel, self.folder = panel, folder

    def save(self, name: str, parts: list[tuple[Any, int, int]]) -> None:
        """`parts`: picture (array [row, column, 3] or QImage), x and y right of the panel."""
        from PySide6 import QtGui

        canvas = QtGui.QImage(_PANEL_WIDTH + _VIEWS_WIDTH, _HEIGHT, QtGui.QImage.Format_RGB888)
        canvas.fill(QtGui.QColor(30, 30, 34))
        painter = QtGui.QPainter(canvas)
        painter.drawImage(0, 0, self.panel.picture(_HEIGHT))
        for picture, x, y in parts:
            painter.drawImage(_PANEL_WIDTH + x, y, _asImage(picture))
        painter.end()
        path = self.folder / f"{name}.png"
        if not canvas.save(str(path)):
            raise SystemExit(f"{path} cannot be written: choose another folder.")
        print(path)

    def show(self, *sections: str) -> None:
        """Open these sections of the panel, and close the others."""
        for name in ("radiographsSection", "reconstructSection", "compareSection", "planSection", "exportSection"):
            getattr(self.panel.ui, name).collapsed = name not in sections


def _asImage(picture: Any) -> Any:
    from PySide6 import QtGui

    if isinstance(picture, QtGui.QImage):
        return picture
    rows, columns, _ = picture.shape
    return QtGui.QImage(picture.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()


def radiographViews() -> list[tuple[Any, int, int]]:
    """Both slice views over the 3D view, as the layout has them."""
    from BiplanarBoneReconLib import layouts
    from slicer_host.views import SliceView, ThreeDView

    parts = []
    for index, name in enumerate(layouts.SLICE_VIEWS.values()):
        parts.append((SliceView(layouts.viewNode(name), 496, 430).picture(), 504 * index, 0))
    knee = ThreeDView(layouts.viewNode(layouts.KNEE_VIEW), 1000, 424)
    knee.look((0.75, -1.0, -0.35), zoom=1.5)
    parts.append((knee.picture(), 0, 436))
    return parts


def uncertaintyViews(panel: Panel) -> list[tuple[Any, int, int]]:
    """The radiographs over the bones coloured by how well they are known."""
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.parameters import BoneColors
    from BiplanarBoneReconLib.scene_uncertainty import uncertaintyModels
    from slicer_host.views import ThreeDView, standing

    parts = radiographViews()[:2]
    # The view first: it draws only legends that come later.
    knee = ThreeDView(layouts.viewNode(layouts.KNEE_VIEW), 1000, 424)
    panel.ui.boneColorsComboBox.currentIndex = list(BoneColors).index(BoneColors.INTERVAL)
    panel.process()
    limits = [0.0] * 6
    box = vtk.vtkBoundingBox()
    for model in uncertaintyModels(panel.widget.parameterNode.reconstruction):
        box.AddBounds(model.GetPolyData().GetBounds())
    box.GetBounds(limits)
    with standing(False):
        knee.look((0.75, -1.0, -0.35), limits, zoom=1.2)
        parts.append((knee.picture(), 0, 436))
    return parts


def comparisonViews() -> list[tuple[Any, int, int]]:
    """Reconstruction and CT side by side, table and histogram below."""
    import slicer
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.parameters import DistanceKind
    from BiplanarBoneReconLib.scene_comparison import colorByDistance, summaries
    from slicer_host.charts import chartPicture, tablePicture
    from slicer_host.views import ThreeDView

    names = (layouts.RECONSTRUCTION_VIEW, layouts.REFERENCE_VIEW)
    views = [ThreeDView(layouts.viewNode(name), 496, 540) for name in names]
    # Slicer opens the views before the colours come, and a view draws only legends that come later.
    colorByDistance(DistanceKind.SIGNED, 3.0)
    parts: list[tuple[Any, int, int]] = []
    for index, view in enumerate(views):
        view.look((0.6, -1.0, -0.1), zoom=1.1)
        parts.append((view.picture(), 504 * index, 0))
    parts.append((tablePicture(summaries()[-1], 496, 310), 0, 546))
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    parts.append((chartPicture(chart, 496, 310), 504, 546))
    return parts


def planViews() -> list[tuple[Any, int, int]]:
    """Fragments, wedge, guide and cut plane over both tables."""
    import slicer
    from BiplanarBoneReconLib import layouts
    from slicer_host.charts import tablePicture
    from slicer_host.views import ThreeDView

    # Two dozen names lie over one another at the joint; they are in the list of the Markups module.
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode").GetDisplayNode().SetPointLabelsVisibility(False)
    view = ThreeDView(layouts.viewNode(layouts.PLAN_VIEW), 1000, 540)
    # A left knee from the front and the medial side, where the wedge opens.
    view.look((-0.75, -1.0, -0.3), zoom=1.35)
    parts: list[tuple[Any, int, int]] = [(view.picture(), 0, 0)]
    for index, name in enumerate((layouts.MEASUREMENTS_VIEW, layouts.PLAN_TABLE_VIEW)):
        table = slicer.mrmlScene.GetNodeByID(layouts.viewNode(name).GetTableNodeID() or "")
        if table is None:
            continue
        parts.append((tablePicture(table, 496, 310), 504 * index, 546))
    return parts


def icon(path: Path) -> None:
    """The module's icon: the reconstructed bones, 128 x 128."""
    from BiplanarBoneReconLib import layouts
    from PySide6 import QtCore, QtGui
    from slicer_host.views import ThreeDView, standing

    with standing(False):
        node = layouts.viewNode(layouts.KNEE_VIEW)
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        node.SetBackgroundColor(0.13, 0.20, 0.30)
        node.SetBackgroundColor2(0.13, 0.20, 0.30)
        view = ThreeDView(node, 512, 512)
        view.look((0.6, -1.0, -0.1), zoom=1.25)
        picture = _asImage(view.picture())
    small = picture.scaled(128, 128, QtCore.Qt.KeepAspectRatio, QtCore.Qt.SmoothTransformation)
    small.convertToFormat(QtGui.QImage.Format_RGBA8888).save(str(path))
    print(path)


def plan(panel: Panel, pictures: Pictures) -> None:
    """The tutorial's plan on the reconstruction: what the image lacks is placed where its sections have their middles."""
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.parameters import Target
    from planning_steps import place_in_sections

    node = panel.widget.parameterNode
    node.planned, node.target, node.wedgeAngle = node.reconstruction, Target.ANGLE, 8.0
    panel.click("measureButton")
    panel.waitUntilIdle()
    pictures.save("slicer_landmarks", planViews())
    place_in_sections(panel)
    panel.click("guideButton")
    panel.waitUntilIdle()
    panel.click("simulateButton")
    panel.waitUntilIdle()
    layouts.show(layouts.PLAN_LAYOUT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "Resources" / "Screenshots")
    parser.add_argument("--resolution-index", type=int, default=1, help="0: 128, 1: 256 (default), 2: 384")
    parser.add_argument("--icon", action="store_true", help="make the module's icon again, and nothing else")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = host()
    panel = Panel(started)
    pictures = Pictures(panel, arguments.out)
    from slicer_host.views import sliceLogics

    panel.click("sampleButton")
    panel.waitUntilIdle()
    sliceLogics()
    panel.click("inspectButton")
    panel.waitUntilIdle()
    if not arguments.icon:
        pictures.show("radiographsSection", "reconstructSection")
        pictures.save("slicer_radiographs", radiographViews())
    panel.ui.resolutionComboBox.currentIndex = arguments.resolution_index
    panel.click("reconstructButton")
    panel.waitUntilIdle()
    if started.errors:
        raise SystemExit(started.errors[0])
    if arguments.icon:
        icon(REPOSITORY / "BiplanarBoneRecon" / "Resources" / "Icons" / "BiplanarBoneRecon.png")
        return
    pictures.show("reconstructSection")
    pictures.save("slicer_reconstruct", radiographViews())
    pictures.save("slicer_uncertainty", uncertaintyViews(panel))
    panel.ui.boneColorsComboBox.currentIndex = 0
    pictures.show("compareSection")
    panel.click("compareButton")
    panel.waitUntilIdle()
    pictures.save("slicer_compare", comparisonViews())
    pictures.show("planSection")
    plan(panel, pictures)
    pictures.save("slicer_plan", planViews())
    pictures.show("exportSection")
    panel.ui.showComparisonButton.click()
    panel.ui.patientIdEdit.text = "sample"
    panel.click("checkMeshButton")
    panel.waitUntilIdle()
    pictures.save("slicer_export", comparisonViews())
    if started.errors:
        raise SystemExit(started.errors[0])
    panel.close()


if __name__ == "__main__":
    main()
