"""BiplanarBoneRecon: two calibrated radiographs of a knee in, femur, tibia, fibula and patella out, inside 3D Slicer.

For people who script Slicer::

    from BiplanarBoneRecon import BiplanarBoneReconLogic
    logic = BiplanarBoneReconLogic()
    ap = logic.loadRadiograph("ap.dcm", "ap")
    lateral = logic.loadRadiograph("lateral.dcm", "lateral")
    bones = logic.reconstruct(ap, lateral, side="left", geometry="room")   # vtkMRMLSegmentationNode
    summary = logic.compare(bones, ctSegmentation, alignment="knee")       # vtkMRMLTableNode
    plan = logic.plan(bones, target="angle", value=8.0, guide=True)        # PlanNodes: landmarks, tables, cut plane
    report = logic.simulateGuide(bones, plan, ctSegmentation)              # the guide on the real bone
    report = logic.export(bones, "/path/to/folder", formats=["stl"], frame="LPS", plan=True)

Each call blocks until the engine, which runs in another process, has finished, and raises `Problem` with one sentence that says
what to do; the scene is then as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import slicer
from BiplanarBoneReconLib import jobs, layouts
from BiplanarBoneReconLib.comparison_jobs import compareJob
from BiplanarBoneReconLib.dependencies import READING, ensured, missingPackages
from BiplanarBoneReconLib.engine_job import EngineJob, fileProblem
from BiplanarBoneReconLib.engine_process import EngineProcess
from BiplanarBoneReconLib.export_jobs import exportJob
from BiplanarBoneReconLib.panel_compare import CompareSection
from BiplanarBoneReconLib.panel_export import ExportSection
from BiplanarBoneReconLib.panel_placing import PlacingSection
from BiplanarBoneReconLib.panel_plan import PlanSection
from BiplanarBoneReconLib.panel_radiographs import RadiographsSection
from BiplanarBoneReconLib.panel_reconstruct import ReconstructSection
from BiplanarBoneReconLib.panel_simulation import SimulationSection
from BiplanarBoneReconLib.parameters import (
    Alignment,
    BiplanarBoneReconParameterNode,
    BoneColors,
    Device,
    DistanceKind,
    Frame,
    Geometry,
    Osteotomy,
    Target,
)
from BiplanarBoneReconLib.plan_jobs import OsteotomyChoices, PlanNodes, planJob
from BiplanarBoneReconLib.problems import Cancelled, Problem
from BiplanarBoneReconLib.sample_data import loadSample, registerSampleData
from BiplanarBoneReconLib.scene_comparison import colorByDistance, comparisonReport
from BiplanarBoneReconLib.scene_plan import plannedModels
from BiplanarBoneReconLib.scene_uncertainty import colorBones
from BiplanarBoneReconLib.segments import matches
from BiplanarBoneReconLib.simulation_jobs import simulateJob
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class BiplanarBoneRecon(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Biplanar Bone Reconstruction")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Orthopedics")]
        self.parent.dependencies = []
        self.parent.contributors = ["BiplanarBoneRecon contributors"]
        self.parent.helpText = _(
            "Reconstructs femur, tibia, fibula and patella from an AP and a lateral radiograph, compares them with a CT and exports "
            "them for guide design. Research software, not a medical device."
        )
        self.parent.acknowledgementText = _("Implements SSR-KD (Lin et al., npj Digital Medicine 2026).")
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", layouts.register)


class BiplanarBoneReconWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: five sections that share one job at a time, its progress and its messages."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: BiplanarBoneReconLogic | None = None
        self.parameterNode: BiplanarBoneReconParameterNode | None = None
        self.window: Any = None
        self.ui: Any = None
        self._guiTag: Any = None
        self._job: EngineJob | None = None
        self._sections: list[Any] = []

    def setup(self) -> None:
        """Called when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        self.window = slicer.util.loadUI(self.resourcePath("UI/BiplanarBoneRecon.ui"))
        self.layout.addWidget(self.window)
        self.ui = slicer.util.childWidgetVariables(self.window)
        self.window.setMRMLScene(slicer.mrmlScene)
        self.logic = BiplanarBoneReconLogic()
        planning = (PlanSection, PlacingSection, SimulationSection)
        self._sections = [
            section(self)
            for section in (RadiographsSection, ReconstructSection, CompareSection, *planning, ExportSection)
        ]
        self.ui.cancelButton.connect("clicked(bool)", self._onCancel)
        layouts.register()
        self.ui.progressBar.visible = False
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when Slicer closes and when the module is reloaded."""
        if self._job is not None:
            # Its end comes when the widgets are gone.
            self._job.forgetListeners()
            self._job.cancel()
            self._job = None
        self._setParameterNode(None)
        for section in self._sections:
            section.forget()
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the module is opened."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time another module is opened. A running job goes on."""
        self._setParameterNode(None)

    def initializeParameterNode(self) -> None:
        """Show the choices of the scene's parameter node, made where there is none."""
        assert self.logic is not None
        self._setParameterNode(self.logic.getParameterNode())

    @property
    def isIdle(self) -> bool:
        """Whether a job can be started."""
        return self._job is None

    def run(
        self,
        makeJob: Callable[[], EngineJob],
        onValue: Callable[[Any], None],
        onProblem: Callable[[Problem], None] | None = None,
    ) -> None:
        """Run a job in the background, one at a time; `onValue` gets its value when it succeeds.

        onProblem: gets what went wrong, in place of a dialogue.
        """
        if self._job is not None:
            self.tell(_("The engine is still at work: wait for it, or press Cancel."))
            return
        try:
            job = makeJob()
        except Problem as problem:
            (onProblem or self.tellProblem)(problem)
            return
        except OSError as error:
            (onProblem or self.tellProblem)(fileProblem(error))
            return
        self._job = job
        job.progress.connect(self._onProgress)
        job.failed.connect(lambda problem: self._onFailed(problem, onProblem))
        job.succeeded.connect(lambda value: self._onSucceeded(value, onValue))
        self._onProgress(0.0, _("starting the engine"))
        self.update()
        job.start()

    def canRead(self) -> bool:
        """Whether the engine can read radiographs; see `hasPackages`."""
        return self.hasPackages(only=READING)

    def hasPackages(self, planning: bool = False, only: Sequence[str] | None = None) -> bool:
        """Whether the engine has what it needs; asks to install what Slicer lacks, or brings in an older version.

        planning, only: see `missingPackages`.
        """
        try:
            return ensured(missingPackages(planning, only))
        except Problem as problem:
            self.tellProblem(problem)
            return False

    def update(self) -> None:
        """Enable what can be used now."""
        idle = self._job is None
        self.ui.cancelButton.enabled = not idle
        self.ui.progressBar.visible = not idle
        for section in self._sections:
            section.update(idle)

    def tell(self, html: str) -> None:
        """A sentence below the panel."""
        self.ui.statusLabel.text = html

    def tellProblem(self, problem: Problem) -> None:
        """What went wrong and what to do, in the panel and in a dialogue with the engine's log."""
        self.tell(f"<b>{escape(str(problem))}</b>")
        slicer.util.errorDisplay(str(problem), windowTitle="BiplanarBoneRecon", detailedText=problem.details)

    def _onProgress(self, fraction: float, words: str) -> None:
        self.ui.progressBar.value = round(100 * fraction)
        self.tell(words[:1].upper() + words[1:] + "\u2026")

    def _onSucceeded(self, value: Any, onValue: Callable[[Any], None]) -> None:
        self._job = None
        self.tell("")
        self.update()
        if self.parameterNode is None:
            self.initializeParameterNode()
        onValue(value)

    def _onFailed(self, problem: Problem, onProblem: Callable[[Problem], None] | None) -> None:
        self._job = None
        if onProblem is not None:
            onProblem(problem)
        elif isinstance(problem, Cancelled):
            self.tell(escape(str(problem)))
        else:
            self.tellProblem(problem)
        self.update()

    def _onCancel(self, *_arguments: Any) -> None:
        if self._job is not None:
            self.tell(_("Stopping the engine\u2026"))
            self._job.cancel()

    def _setParameterNode(self, node: BiplanarBoneReconParameterNode | None) -> None:
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self.parameterNode, self._modifiedEvent(), self._onParameterNodeModified)
        self.parameterNode = node
        if node is not None:
            self._guiTag = node.connectGui(self.ui)
            self.addObserver(node, self._modifiedEvent(), self._onParameterNodeModified)
            self.update()

    @staticmethod
    def _modifiedEvent() -> int:
        import vtk

        return vtk.vtkCommand.ModifiedEvent

    def _onParameterNodeModified(self, caller: Any = None, event: Any = None) -> None:
        self.update()

    def _onNodeRemoved(self, caller: Any = None, event: Any = None) -> None:
        if self.parameterNode is None or slicer.mrmlScene.IsClosing():
            return
        if not slicer.mrmlScene.IsNodePresent(self.parameterNode.parameterNode):
            # Somebody removed the choices themselves: new ones, rather than some that nobody sees.
            self.initializeParameterNode()
        else:
            self.update()

    def _onSceneStartClose(self, caller: Any = None, event: Any = None) -> None:
        self._setParameterNode(None)

    def _onSceneEndClose(self, caller: Any = None, event: Any = None) -> None:
        for section in self._sections:
            section.forget()
        self.tell("")
        if self.parent.isEntered:
            self.initializeParameterNode()


class BiplanarBoneReconLogic(ScriptedLoadableModuleLogic):
    """The module's work without its panel. Every method blocks, and raises Problem when it cannot do what it should.

    processFactory: makes the engine's process, for tests and for engines elsewhere.
    """

    def __init__(self, processFactory: Callable[[], EngineProcess] = EngineProcess) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._processFactory = processFactory

    def getParameterNode(self) -> BiplanarBoneReconParameterNode:
        """The panel's choices, as they are kept in the scene."""
        return BiplanarBoneReconParameterNode(super().getParameterNode())

    def loadRadiograph(self, path: str, view: str) -> Any:
        """Read a DICOM or image file with the engine; view is "ap" or "lateral". Returns a vtkMRMLScalarVolumeNode."""
        return self._finished(jobs.loadJob(str(path), view, self._processFactory))

    def inspect(self, ap: Any, lateral: Any, side: str = "", geometry: str = "", rigFile: str = "") -> dict[str, Any]:
        """Place both radiographs where their detectors stood, and say what was understood (spacing, magnification, angle).

        side: "right", "left" or "" (what the files say). geometry: "" (what the files say), "room", "c_arm", "paper", or
        "file" with rigFile, a calibrated rig.json.
        """
        job = jobs.inspectJob(ap, lateral, side, Geometry(geometry), str(rigFile), self._processFactory)
        return self._finished(job)

    def reconstruct(
        self,
        ap: Any,
        lateral: Any,
        side: str = "",
        geometry: str = "",
        rigFile: str = "",
        modelFolder: str = "",
        resolution: int = 256,
        device: str = "auto",
        progress: Callable[[float, str], None] | None = None,
        refine: bool = True,
        prepare: bool = True,
    ) -> Any:
        """Reconstruct the bones from two radiographs; returns a vtkMRMLSegmentationNode with closed surfaces.

        side, geometry, rigFile: as for `inspect`. modelFolder: "" for the bundled model. resolution: samples along a side
        of the field of view, 32 to 512. progress: called with a fraction 0 to 1 and words. refine: fit the model's shape prior.
        prepare: leave out collimators and fill letters in the images first.
        """
        job = jobs.reconstructJob(
            ap,
            lateral,
            side,
            Geometry(geometry),
            str(rigFile),
            str(modelFolder),
            resolution,
            Device(device),
            self._processFactory,
            refine,
            prepare,
        )
        return self._finished(job, progress)

    def colorBones(self, reconstruction: Any, by: str = "interval95_mm", range_mm: float = 3.0) -> bool:
        """Colour reconstructed bones in the module's 3D view by what is known of their error; returns whether that is known.

        by: "interval95_mm", "expected_error_mm" or "" (the bones' own colours).
        """
        return colorBones(reconstruction, BoneColors(by), range_mm)

    def compare(
        self,
        reconstruction: Any,
        reference: Any,
        matched: dict[str, str] | None = None,
        alignment: str = "none",
        signed: bool = True,
        range_mm: float = 3.0,
    ) -> Any:
        """Measure two segmentations against one another and colour them; returns the summary, a vtkMRMLTableNode.

        matched: segment ID of the reference by bone; None matches by terminology, else by name. alignment: "none", "knee" or
        "bone". `comparisonReport(summary)` gives every figure.
        """
        if matched is None and reconstruction is not None and reference is not None:
            matched = matches(reconstruction, reference)
        job = compareJob(reconstruction, reference, matched or {}, Alignment(alignment), self._processFactory)
        summary = self._finished(job)
        colorByDistance(DistanceKind.SIGNED if signed else DistanceKind.ABSOLUTE, range_mm)
        return summary

    def measure(self, segmentation: Any, side: str = "", nodes: PlanNodes | None = None) -> PlanNodes:
        """Find landmarks and measure; returns the nodes. Give `nodes` back to keep landmarks that were moved by hand."""
        return self._finished(planJob(segmentation, side, nodes, processFactory=self._processFactory))

    def plan(
        self,
        segmentation: Any,
        side: str = "",
        nodes: PlanNodes | None = None,
        osteotomy: str = "medial-opening",
        target: str = "fujisawa",
        value: float = 62.5,
        biplanar: bool = True,
        byHand: bool = False,
        guide: bool = False,
    ) -> PlanNodes:
        """Plan a high tibial osteotomy, with `guide` make its cutting guide; returns the nodes.

        osteotomy: "medial-opening" or "lateral-closing". target: "fujisawa" (value in %), "hka" or "angle" (degrees). byHand: cut
        where the plane of `nodes` stands.
        """
        choices = OsteotomyChoices(Osteotomy(osteotomy), Target(target), value, biplanar, byHand)
        return self._finished(planJob(segmentation, side, nodes, choices, guide, processFactory=self._processFactory))

    def simulateGuide(
        self, segmentation: Any, nodes: PlanNodes, reference: Any, starts: int = 30, samples: int = 60
    ) -> dict[str, Any]:
        """Make the guide of the plan of `nodes` and seat it on the reference's tibia; returns the engine's report.

        starts: poses that it is pressed from. samples: printed guides of the Monte Carlo.
        """
        return self._finished(simulateJob(segmentation, nodes, reference, starts, samples, self._processFactory))

    def export(
        self,
        segmentation: Any,
        folder: str,
        formats: Sequence[str] = ("stl",),
        frame: str = "LPS",
        triangles: int | None = None,
        patient: str = "",
        scene: bool = False,
        plan: bool = False,
    ) -> dict[str, Any]:
        """Check the meshes and write them into a new folder inside `folder`; returns the report, whose `folder` names it.

        plan: with the fragments, the wedge and the guide of these bones' plan in the scene.
        """
        job = exportJob(
            segmentation,
            str(folder),
            formats,
            Frame(frame),
            triangles,
            patient,
            scene,
            processFactory=self._processFactory,
            models=plannedModels(segmentation) if plan else None,
        )
        return self._finished(job)

    @staticmethod
    def _finished(job: EngineJob, progress: Callable[[float, str], None] | None = None) -> Any:
        if progress is not None:
            job.progress.connect(progress)
        job.start()
        return job.wait()


class BiplanarBoneReconTest(ScriptedLoadableModuleTest):
    """The whole job on the bundled sample, inside Slicer."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_wholeJob()

    def test_wholeJob(self) -> None:
        """Sample radiographs to four bones near the truth, compared, measured and exported."""
        import tempfile
        from pathlib import Path

        logic = BiplanarBoneReconLogic()
        nodes = loadSample()
        bones = logic.reconstruct(nodes["ap"], nodes["lateral"], side="left", resolution=96)
        self.assertEqual(bones.GetSegmentation().GetNumberOfSegments(), 4)
        report = comparisonReport(logic.compare(bones, nodes["reference"]))
        self.assertEqual(set(report["bones"]), {"femur", "tibia", "fibula", "patella"})
        for bone, row in report["bones"].items():
            self.assertLess(row["exact_assd_mm"], 4.0, bone)
        plan = logic.measure(nodes["reference"])
        self.assertGreater(plan.landmarks.GetNumberOfDefinedControlPoints(), 15)
        self.assertEqual(plan.measurements.GetTable().GetValue(0, 0).ToString(), "HKA")
        with tempfile.TemporaryDirectory() as folder:
            exported = logic.export(bones, folder, patient="sample")
            self.assertEqual(len(list(Path(exported["folder"]).glob("*_LPS.stl"))), 4)
        self.delayDisplay("Test passed")
