"""The measured tables as a page of Markdown, so that no figure is copied by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SSRKDCore.trust.flags import LIGHTS


def page(found: Mapping[str, Any], made: Mapping[str, str]) -> str:
    """Text from what `measured_tables.tables` returns. made: by which `command`, `commit` and `weights_sha256`, and on what `date`."""
    lines = [
        "# Trust, measured",
        "",
        f"Written by `{made['command']}`, {made['date']}, commit {made['commit']}, weights {made['weights_sha256'][:8]}.",
        "What the kinds and flags are: docs/trust.md. Stand-ins are simulated.",
        "",
        *_table(
            ["input", "n", *LIGHTS, "flags raised"],
            [
                [
                    kind,
                    row["count"],
                    *(row["lights"][light] for light in LIGHTS),
                    ", ".join(f"{name} {count}" for name, count in row["flags"].items()) or "none",
                ]
                for kind, row in found["kinds"].items()
            ],
        ),
        "",
        "Good cases, those with metal too, vertices compared with the true bones (exact, point to triangle):",
        "",
        *_table(
            [
                "bone",
                "cases",
                "95 % interval holds",
                "before calibration on people left out",
                "without widening",
                "in the worst case",
                "mean half width",
                "expected error",
                "true error",
                "rank correlation over cases",
                "over vertices",
            ],
            [
                [
                    bone,
                    row["cases"],
                    f"{100 * row['coverage']:.1f} %",
                    _percent(row["coverage_of_population_factor"]),
                    _percent(row["coverage_without_widening"]),
                    f"{100 * row['lowest_case']:.0f} %",
                    f"{row['interval_mm']:.2f} mm",
                    f"{row['expected_mm']:.2f} mm",
                    f"{row['true_mm']:.2f} mm",
                    _number(found["rank_correlation"].get(bone, {}).get("spearman")),
                    _number(row["vertex_rank_correlation"]),
                ]
                for bone, row in found["coverage"].items()
            ],
        ),
        "",
        *_calibration(found["calibration"]),
        "Where the 95 % interval holds, by the folder of the cases:",
        "",
        *_table(
            ["folder", "cases", *found["coverage"]],
            [
                [group, row["cases"], *(_percent(row.get(bone)) for bone in found["coverage"])]
                for group, row in found["coverage_by_group"].items()
            ],
        ),
        "",
        "Mean true error of the good cases by light: "
        + "; ".join(
            f"{light} {row['cases']} cases" + ("" if row["mean_mm"] is None else f", {row['mean_mm']:.2f} mm")
            for light, row in found["true_error_by_light"].items()
        )
        + ".",
        "",
        *_brightness(found["brightness"]),
        "![Mean error and its 95th percentile against what was stated](reliability.png)",
    ]
    return "\n".join(lines) + "\n"


def _calibration(entry: Mapping[str, Any] | None) -> list[str]:
    """Lines on whom the intervals were calibrated, none where on nobody."""
    if not entry:
        return []
    multiples = ", ".join(
        f"{bone} {factor:.2f} and {entry['left_out_factors'][bone]:.2f}"
        for bone, factor in entry["population_factors"].items()
        if bone in entry["left_out_factors"]
    )
    return [
        f"Intervals are calibrated on {len(entry['people'])} people left out of the shape prior one at a time "
        f"({', '.join(entry['people'])}; {entry['cases']} cases), none of whom is among the cases here. Multiples of the expected error, "
        f"of the population and of those people: {multiples}.",
        "",
        *_strangers(entry.get("held_for_each", {})),
    ]


def _strangers(held: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Lines on how often the intervals hold for a person on whom they were not calibrated either, none where that is not known."""
    rows = []
    for bone, shares in held.items():
        if shares:
            name, least = min(shares.items(), key=lambda entry: entry[1])
            rows.append([bone, _percent(sum(shares.values()) / len(shares)), f"{_percent(least)} ({name})"])
    if not rows:
        return []
    return [
        "With each of them left out of the calibration too, in turn, the interval holds for so much of their vertices:",
        "",
        *_table(["bone", "people, each counting the same", "person with the least"], rows),
        "",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return ["| " + " | ".join(str(cell) for cell in cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _brightness(row: Mapping[str, Any]) -> list[str]:
    words = []
    if row["largest_unflagged"] is not None:
        words.append(f"at most {_percent(row['largest_unflagged'])} where `lost_contrast` is not raised")
    if row["red"]:
        least, largest = row["worst_bone_mm"]
        words.append(
            f"more than a third in {row['red']} cases, whose worst bones are {least:.1f} to {largest:.1f} mm wrong"
        )
    return [f"Of the good cases' images so much is of one brightness: {'; '.join(words)}.", ""] if words else []
