"""What a guide study found: a row a case with failures and figures, means by set of cases, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.planning.simulation_report import flat_figures, words, write_rows

#: Figures of report.json that a study sums up, and whether a small value is the bad one.
FIGURES = {
    "contact.contact_percent_within_0.25_mm": True,
    "contact.contact_percent_within_0.5_mm": True,
    "contact.contact_percent_within_1_mm": True,
    "contact.mean_gap_mm": False,
    "stability.resisted_percent": True,
    "seating.share_of_starts_in_this_seat": True,
    "seating_error.translation_mm": False,
    "seating_error.rotation_degrees": False,
    "seating_error_beyond_control.translation_mm": False,
    "seating_error_beyond_control.rotation_degrees": False,
    "cut_plane.angle_degrees": False,
    "cut_plane.largest_mm": False,
    "cut_plane.within_1_mm_percent": True,
    "cut_plane_against_control_plan.angle_degrees": False,
    "cut_plane_against_control_plan.largest_mm": False,
    "hinge.shift_mm": False,
    "correction.frontal_degrees": False,
    "correction.sagittal_degrees": False,
}
REGISTRATION = ("registration.translation_mm", "registration.rotation_degrees", "registration.residual_mm")
GUIDES = {"guide": "reconstruction", "control": "reference"}


@dataclass(frozen=True)
class StudyRow:
    """One case.

    Attributes
    ----------
    set_name, case: folder of the set, and of the case in it.
    subject: the person whose knee it is, None where the case does not say. side: None where the case could not be read.
    failures: step -> why it failed.
    report: what simulate-guide reported, None where it did not come to that.
    plan_warnings: codes of the warnings of the plan on the reconstruction.
    """

    set_name: str
    case: str
    subject: str | None
    side: str | None
    failures: Mapping[str, str]
    report: Mapping[str, Any] | None = None
    plan_warnings: tuple[str, ...] = ()

    def figures(self, guide: str) -> dict[str, float | None]:
        """The figures of FIGURES that are known of "guide" or "control"."""
        if self.report is None or self.report[guide] is None:
            return {}
        found = flat_figures(self.report[guide])
        return {name: found[name] for name in FIGURES if name in found}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        registration = {} if self.report is None else flat_figures({"registration": self.report["registration"]})
        return {
            "set": self.set_name,
            "case": self.case,
            "subject": self.subject,
            "side": self.side,
            "failures": dict(self.failures),
            "plan_warnings": list(self.plan_warnings),
            "registration": {name.split(".")[1]: registration.get(name) for name in REGISTRATION},
            **{guide: self.figures(guide) for guide in GUIDES},
        }


def summary_by_set(rows: Sequence[StudyRow]) -> dict[str, Any]:
    """Set -> "guide" or "control" -> figure -> count, mean, mean size, worst and its case.

    Sets are kept apart: legs of people and knees drawn from a shape model are not alike. Means go over the cases that have the figure.
    """
    return {
        name: {guide: _summary([row for row in rows if row.set_name == name], guide) for guide in GUIDES}
        for name in dict.fromkeys(row.set_name for row in rows)
    }


def _summary(rows: Sequence[StudyRow], guide: str) -> dict[str, Any]:
    summary = {}
    for name, small_is_bad in FIGURES.items():
        known = {row.case: value for row in rows if (value := row.figures(guide).get(name)) is not None}
        if known:
            worst = min(known, key=lambda case: known[case] if small_is_bad else -abs(known[case]))
            summary[name] = {
                "cases": len(known),
                "mean": sum(known.values()) / len(known),
                "mean_absolute": sum(abs(value) for value in known.values()) / len(known),
                "worst": known[worst],
                "worst_case": worst,
            }
    return summary


def words_of_summary(summary: Mapping[str, Any]) -> list[str]:
    """A line for each figure of `summary_by_set`, to be read by people."""
    return [
        f"{name}, guide made on the {GUIDES[guide]}: {words(figure)} mean {values['mean_absolute']:.2f}, "
        f"worst {values['worst']:.2f} ({values['worst_case']}), {values['cases']} cases"
        for name, guides in summary.items()
        for guide, figures in guides.items()
        for figure, values in figures.items()
    ]


def write_study_rows(path: Path, rows: Sequence[StudyRow]) -> None:
    """A CSV row a case, failed ones too: steps that failed with their reasons, and the figures of guide and control."""
    found = []
    for row in rows:
        values = row.to_dict()
        nested = {name: values.pop(name) for name in ("registration", *GUIDES)}
        values["failures"] = "; ".join(f"{step}: {reason}" for step, reason in row.failures.items())
        values["plan_warnings"] = " ".join(row.plan_warnings)
        found.append(values | flat_figures(nested))
    write_rows(path, found)


#: Figure -> heading of its panel.
_PANELS = {
    "contact.contact_percent_within_0.5_mm": "Patch within 0.5 mm of the bone (%)",
    "stability.resisted_percent": "Loads resisted (%)",
    "seating_error.translation_mm": "Seat beside the designed place (mm)",
    "cut_plane.angle_degrees": "Cut against the guide's own plan (degrees)",
    "cut_plane.largest_mm": "Cut, largest distance from it (mm)",
    "correction.frontal_degrees": "Error of the correction, frontal (degrees)",
}
_COLOURS, _MARKS = {"guide": "#D55E00", "control": "#0072B2"}, {"guide": "o", "control": "D"}


def picture_of_rows(path: Path, rows: Sequence[StudyRow]) -> None:
    """A PNG of six figures: each case's guide beside its control; a case without a guide has an empty row.

    Raises InputError where matplotlib is missing.
    """
    from SSRKDCore.evaluation.experiments.few_colours import with_few_colours
    from SSRKDCore.evaluation.experiments.plot import foot, new_figure

    figure = new_figure(11.0, 3.2 + 0.42 * len(rows))
    panels = figure.subplots(2, 3, sharey=True)
    for panel, (name, title) in zip(panels.flat, _PANELS.items(), strict=True):
        for guide, made_on in GUIDES.items():
            known = [(row.figures(guide).get(name), place) for place, row in enumerate(rows)]
            places = [(value, place) for value, place in known if value is not None]
            panel.plot(
                [value for value, _ in places], [place for _, place in places], _MARKS[guide], color=_COLOURS[guide],
                markersize=6, alpha=0.85, label=f"guide made on the {made_on}",
            )  # fmt: skip
        panel.set_title(title, fontsize=9)
        panel.set_yticks(range(len(rows)), [f"{row.case} ({row.set_name})" for row in rows], fontsize=7.5)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.axvline(0.0, color="#999999", linewidth=0.8)
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.tick_params(axis="x", labelsize=8)
    panels[0, 0].legend(fontsize=7.5, loc="best")
    foot(figure, "Simulated radiographs; guides seated by computation on the reference bone. No clinical result.")
    figure.savefig(path)
    with_few_colours(path)
