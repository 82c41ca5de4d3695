"""What was measured of knees that bend between the exposures, as a page of Markdown, so that no figure is copied by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = [
    "bent by",
    "knees",
    "refused",
    "green, amber, red",
    "flags raised",
    "as a knee",
    "patella as a knee",
    "worst bone as a knee",
    "each bone by itself",
]


def page(report: Mapping[str, Any]) -> str:
    """Text from what `bent_knee_study` writes."""
    lines = [
        "# Knees that bend between the two exposures, measured",
        "",
        f"Written by `{report['command']}`, {report['date']}, commit {report['commit']}. All radiographs are simulated, without a room's "
        "scatter or display curve. Thigh and shin take half of the bend each. Exact ASSD in mm against the bones as they lay at the second "
        "exposure, mean over bones and knees: all bones moved onto the true ones as a whole (as a knee), and each by itself.",
        "",
    ]
    for kind in dict.fromkeys(row["kind"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["kind"] == kind]
        for rig, words in (
            ("stated", "the rig as it stood"),
            ("estimated", "the second view where `ssrkd calibrate pair` has it"),
        ):
            head = _HEAD if rig == "stated" else [*_HEAD, "its turn about the beam"]
            lines += [
                f"**{kind[0].upper()}{kind[1:]}: {words}**",
                "",
                *_table(head, [_cells(row, rig) for row in rows]),
                "",
            ]
    if report["left_out"]:
        lines += [
            "Left out, as the bones cannot take the pose:",
            "",
            *(f"- {words}" for words in report["left_out"]),
            "",
        ]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any], rig: str) -> list[str]:
    found = row[rig]
    cells = [
        f"{row['degrees']:g} degrees",
        str(row["knees"]),
        str(found["refused"]),
        ", ".join(str(found["lights"][light]) for light in ("green", "amber", "red")),
        ", ".join(f"{name} {count}" for name, count in found["flags"].items()) or "none",
        *(_number(found[name]) for name in ("as_a_knee", "patella", "worst", "own")),
    ]
    turn = row["mean_turn_about_beam_degrees"]
    return cells if rig == "stated" else [*cells, "-" if turn is None else f"{turn:.2f} degrees"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
