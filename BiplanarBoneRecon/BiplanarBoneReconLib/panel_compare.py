"""Panel section 3: how far the reconstruction lies from a CT."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from .comparison_jobs import compareJob
from .dependencies import SURFACES
from .export_files import fileWord
from .problems import Problem
from .scene_bones import BONES
from .scene_comparison import (
    answers,
    colorByDistance,
    coloredModels,
    comparisonName,
    comparisonReport,
    measuresCsv,
    question,
    showComparison,
    summaries,
)
from .segments import bonesOf, matches, segmentIds, segmentName
from .texts import warningLine

_NOT_COMPARED = _("(not compared)")


class CompareSection:
    """Connects the widgets of the section; `panel` runs the jobs."""

    def __init__(self, panel: Any) -> None:
        self._panel = panel
        self._ui = panel.ui
        self._pair: tuple[str, str] | None = None
        self._filling = False
        self._combos = {bone: getattr(self._ui, f"match{bone.capitalize()}ComboBox") for bone in BONES}
        self._shown: tuple[Any, ...] | None = None
        for combo in self._combos.values():
            combo.connect("currentIndexChanged(int)", self._onMatch)
        self._ui.compareButton.connect("clicked(bool)", self._onCompare)
        self._ui.showComparisonButton.connect("clicked(bool)", self._onShow)
        self._ui.saveCsvButton.connect("clicked(bool)", self._onSaveCsv)

    def update(self, idle: bool) -> None:
        """Enable what can be used now, keep matches and colours as the parameter node says."""
        node = self._panel.parameterNode
        chosen = node is not None and node.reconstruction is not None and node.reference is not None
        if chosen:
            self._matchSegments()
        matched = chosen and any(self._matched().values())
        self._ui.compareButton.enabled = idle and matched
        self._ui.comparisonLabel.text = self._inWords() if node is not None else ""
        compared = bool(summaries())
        self._ui.showComparisonButton.enabled = self._ui.saveCsvButton.enabled = compared
        if compared and node is not None:
            state = (node.distanceKind, node.distanceRange, tuple(model.GetID() for model in coloredModels()))
            if state != self._shown:
                self._shown = state
                colorByDistance(node.distanceKind, node.distanceRange)

    def _inWords(self) -> str:
        """The figures of the comparison in the scene, where it is that of what is chosen now."""
        node, found = self._panel.parameterNode, summaries()
        if not found:
            return ""
        pair = {"reconstruction": node.reconstruction, "reference": node.reference}
        if None not in pair.values():
            own = bonesOf(node.reconstruction)
            matched = {bone: segment for bone, segment in self._matched().items() if segment and bone in own}
            if answers(found[-1], pair, question(pair, matched, node.alignment.value)):
                return resultsInWords(comparisonReport(found[-1]))
        words = _("The comparison in this scene is another one ({name}): press Compare for what is chosen here.")
        return escape(words.format(name=comparisonName(found[-1])))

    def forget(self) -> None:
        """Say nothing about a comparison that is gone."""
        self._ui.comparisonLabel.text = ""
        self._pair, self._shown = None, None
        self._filling = True
        for combo in self._combos.values():
            combo.clear()
        self._filling = False

    def _matchSegments(self) -> None:
        """Fill the match boxes when another pair is chosen: with the saved choice where it fits, else by terminology and name."""
        node = self._panel.parameterNode
        ids = segmentIds(node.reference)
        pair = (node.reconstruction.GetID(), f"{node.reference.GetID()} {ids}")
        if pair == self._pair:
            return
        self._pair = pair
        automatic = matches(node.reconstruction, node.reference)
        self._filling = True
        for bone, combo in self._combos.items():
            combo.clear()
            combo.addItem(_NOT_COMPARED, "")
            for identifier in ids:
                combo.addItem(segmentName(node.reference, identifier), identifier)
            saved = getattr(node, f"match{bone.capitalize()}")
            wanted = saved if saved in ids else automatic.get(bone, "")
            combo.currentIndex = ids.index(wanted) + 1 if wanted in ids else 0
        self._filling = False
        self._onMatch()

    def _matched(self) -> dict[str, str]:
        return {bone: str(combo.itemData(combo.currentIndex) or "") for bone, combo in self._combos.items()}

    def _onMatch(self, *_arguments: Any) -> None:
        if self._filling or self._panel.parameterNode is None:
            return
        for bone, identifier in self._matched().items():
            setattr(self._panel.parameterNode, f"match{bone.capitalize()}", identifier)

    def _onCompare(self, *_arguments: Any) -> None:
        node = self._panel.parameterNode
        if not self._panel.hasPackages(only=SURFACES):
            return
        self._panel.run(
            lambda: compareJob(node.reconstruction, node.reference, self._matched(), node.alignment), self._done
        )

    def _done(self, summary: Any) -> None:
        self._shown = None
        self._panel.update()
        self._onShow()
        self._panel.tell(_("Compared. Grey parts lie outside the field of view and are not measured."))

    def _onShow(self, *_arguments: Any) -> None:
        node = self._panel.parameterNode
        found = summaries()
        if found:
            showComparison(found[-1], [item for item in (node.reconstruction, node.reference) if item is not None])
            colorByDistance(node.distanceKind, node.distanceRange)

    def _onSaveCsv(self, *_arguments: Any) -> None:
        found = summaries()
        # Named after what was compared, which the file itself does not say.
        name = f"{fileWord(comparisonName(found[-1])) if found else ''}.csv"
        path = qt.QFileDialog.getSaveFileName(self._panel.window, _("Save distances"), name, "CSV (*.csv)")
        if path:
            try:
                saveCsv(Path(path))
            except Problem as problem:
                self._panel.tellProblem(problem)
                return
            self._panel.tell(_("Saved: {path}").format(path=escape(path)))


def saveCsv(path: Path) -> None:
    """Write the measures of the comparison in the scene. Raises Problem where there is none, or the file cannot be written."""
    found = summaries()
    text = measuresCsv(found[-1]) if found else ""
    if not text:
        raise Problem(_("There is no comparison to save: press Compare first."))
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Problem(
            _("{path} cannot be written ({reason}): choose another place or free some space.").format(
                path=path, reason=error.strerror
            )
        ) from error


def resultsInWords(report: dict[str, Any]) -> str:
    """The figures of a comparison as HTML."""
    titles = (_("ASSD (mm)"), _("HD95 (mm)"), _("HD (mm)"), _("Dice"))
    headings = "".join(f"<th>{title}</th>" for title in titles)
    rows = [f"<tr><th align=left>{_('Bone')}</th>{headings}</tr>"]
    for bone, row in report.get("bones", {}).items():
        if row.get("failure"):
            rows.append(f"<tr><td>{bone.capitalize()}</td><td colspan=4>{escape(row['failure'])}</td></tr>")
            continue
        figures = [f"{row[key]:.2f}" for key in ("exact_assd_mm", "exact_hd95_mm", "exact_hd_mm")]
        figures.append("\u2013" if row["dice"] is None else f"{row['dice']:.3f}")
        rows.append(
            f"<tr><td>{bone.capitalize()}</td>" + "".join(f"<td align=right>{text}</td>" for text in figures) + "</tr>"
        )
    lines = ["<table cellpadding=3>" + "".join(rows) + "</table>"]
    for name, found in report.get("alignments", {}).items():
        words = _(
            "Alignment of the {name}: moved {moved:.2f} mm, turned {turned:.2f}\u00b0, residual {residual:.2f} mm "
            "(before {before:.2f} mm)."
        )
        lines.append(
            words.format(
                name=escape(name),
                moved=found["translation_mm"],
                turned=found["rotation_degrees"],
                residual=found["residual_mm"],
                before=found["before_mm"],
            )
        )
    lines += [warningLine(line) for line in report.get("warnings", [])]
    return "<br>".join(lines)
