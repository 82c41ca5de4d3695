"""The figures of `pair_study` as a page of Markdown, so that none is copied by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_BONES = {
    "known": "Known bones (of a CT)",
    "reconstructed": "The network's own bones",
    "shape_model": "The shape model's knee (what the command does, unless the shape model does not fit)",
}
_NEVER_LESS = {"known": "", "reconstructed": ", and never less than with known bones", "shape_model": ""}
_SETS = {
    "fit": "knees that fitted the factor",
    "people": "people left out of the shape model, who fitted the factor too",
    "check": "knees that had no part in it",
    "other": "knees of another kind, no part in it",
    "usual rooms": "knees in usual rooms, no part in it",
    "bad rooms": "knees in bad rooms, no part in it",
}


def page(report: Mapping[str, Any]) -> str:
    """Text from the report of `pair_study.main`."""
    belief = report["belief"]
    lines = [
        "# Relative pose of two radiographs, measured",
        "",
        f"Written by `{report['command']}`. Radiographs and bones are simulated. The second view is told wrongly by a draw from the belief "
        f"(standard deviations {belief['turn_sd_degrees']:g} degrees, {belief['shift_sd_mm']:g} mm about and along each axis), one a knee.",
    ]
    for kind, sets in report["results"].items():
        lines += [
            "",
            f"## {_BONES[kind]}",
            "",
            f"Uncertainty of the least-squares problem times {report['widening'][kind]:g}: {_asked(report['fitted_widening'][kind])}; "
            f"what is in use is only ever raised{_NEVER_LESS[kind]}.",
        ]
        for name, found in sets.items():
            lines += ["", *_section(report, name, found)]
    return "\n".join(lines) + "\n"


def _asked(fitted: Mapping[str, float]) -> str:
    """What each set asks for, in words."""
    said = [f"the {_SETS[name].split(',')[0]} ask for {factor:g}" for name, factor in fitted.items()]
    return ", ".join(said).replace("the people", "people")


def _section(report: Mapping[str, Any], name: str, found: Mapping[str, Any]) -> list[str]:
    lines = [f"**{found['trials']} trials, {_SETS[name]}** ({_range(report['cases'][name][: found['trials']])}):"]
    if "directions" not in found:
        return [*lines, "all refused."]
    poses = found["trials"] - found["refused"] - found["other_bones"]
    rows = [
        [
            direction.replace("_", " "),
            f"{row['before_rms']:.2f}",
            f"{row['by_outlines_rms']:.2f}",
            f"{row['after_rms']:.2f}",
            f"{row['stated_95_mean']:.2f}",
            f"{row['held']} of {poses}",
        ]
        for direction, row in found["directions"].items()
    ]
    lines += [
        "",
        *_table(
            [
                "direction",
                "error before (rms)",
                "by outlines (rms)",
                "with slices (rms)",
                "stated for 95 % (mean)",
                "held",
            ],
            rows,
        ),
        "",
    ]
    words = f"Slices told something in {found['with_slices']} of {poses}. "
    words += f"Held in {100 * found['held_share']:.0f} % of all directions and trials. "
    words += "Refused, since outlines did not lie on edges or the images contradict or cannot confirm the pose: "
    words += f"{found['refused']}; "
    if found["other_bones"]:
        words += f"left to the network's bones, since the shape model does not fit: {found['other_bones']}; "
    words += (
        f"of the others {found['accepted']} state the height to {report['height_limit_mm']:g} mm and so are written"
    )
    largest = found["largest_height_error_mm"]
    words += "." if largest is None else f", their largest height error {largest:.1f} mm."
    effect = found.get("mean_exact_assd_mm")
    if effect is not None:
        figures = [effect[name]["as_a_knee"] for name in ("as_believed", "as_estimated", "true_rig")]
        in_place = [effect[name]["in_place"] for name in ("as_believed", "as_estimated", "true_rig")]
        words += (
            f" Bones of {effect['knees']} knees reconstructed with the rig as believed, as estimated and as it is, moved onto the true "
            f"knee as a whole: exact ASSD {_list(figures)} mm (mean over bones and knees; estimated better than believed in "
            f"{effect['better_than_believed_as_a_knee']}); where they are: {_list(in_place)} mm."
        )
    return [*lines, words]


def _list(values: Sequence[float]) -> str:
    return f"{', '.join(f'{value:.2f}' for value in values[:-1])} and {values[-1]:.2f}"


def _range(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1].rsplit('/', 1)[-1]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
