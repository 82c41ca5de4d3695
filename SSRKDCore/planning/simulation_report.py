"""The result of a guide simulation as one HTML page, and as rows of a table."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = (
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;color:#222}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #bbb;padding:.25em .6em;text-align:left}td+td{text-align:right}img{max-width:100%}.note{color:#555}"
)
_TABLE_STYLE = (
    "body{max-width:none}.wide{overflow-x:auto}table{font-size:.8em}.mean{font-weight:bold}td,th{white-space:nowrap}"
)
_NOT_KNOWN = "-"


def flat_figures(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested results as one level: "cut_plane.angle_degrees" -> figure; lists and sentences are left out."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_figures(value, f"{before}{name}.")
        elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            flat[before + name] = value
    return flat


def write_html(path: Path, report: Mapping[str, Any], pictures: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write the page of one case; PNG pictures by guide and title are held inside it, and every text is escaped."""
    guides = {name: flat_figures(report[name]) for name in ("guide", "control") if report.get(name) is not None}
    names = list(dict.fromkeys(name for figures in guides.values() for name in figures))
    heads = "".join(f"<th>{'reconstruction' if name == 'guide' else 'control (reference)'}</th>" for name in guides)
    rows = "".join(
        f"<tr><td>{escape(words(name))}</td>"
        + "".join(f"<td>{_figure(figures.get(name))}</td>" for figures in guides.values())
        + "</tr>"
        for name in names
    )
    images = "".join(
        f'<h2>{escape(guide)}: {escape(title)}</h2><img alt="{escape(title)}" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode("ascii")}">'
        for guide, shown in pictures.items()
        for title, data in shown.items()
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in report["notes"])
    title = f"Guide simulation: {report['case']}"
    path.write_text(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>Guide {escape(str(report['guide_path']))} on {escape(str(report['reference_path']))}, seed {report['seed']}.</p>"
        f"{notes}<table><tr><th>measure</th>{heads}</tr>{rows}</table>{images}</body></html>\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


def write_table_html(path: Path, rows: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> None:
    """Write rows of figures (with `case` and `made_on`) as one page: a line a guide, then the means of guides and of controls, and notes
    above.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    heads = "".join(f"<th>{escape(words(name))}</th>" for name in columns)
    lines = [_line(columns, row) for row in rows]
    for made_on in dict.fromkeys(str(row["made_on"]) for row in rows):
        alike = [row for row in rows if row["made_on"] == made_on]
        lines.append(_line(columns, _mean_row(columns, alike, made_on), "mean"))
    shown = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    path.write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Guide simulations</title>'
        f"<style>{_STYLE}{_TABLE_STYLE}</style></head><body><h1>Guide simulations</h1>{shown}"
        f'<div class="wide"><table><tr>{heads}</tr>{"".join(lines)}</table></div></body></html>\n',
        encoding="utf-8",
        errors="backslashreplace",
    )


def _mean_row(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], made_on: str) -> dict[str, Any]:
    means: dict[str, Any] = {"case": f"mean of {len(rows)}", "made_on": made_on}
    for name in columns:
        known = [float(row[name]) for row in rows if isinstance(row.get(name), (int, float))]
        # A mean over some of the cases alone would be compared with one over all.
        if len(known) == len(rows):
            means[name] = sum(known) / len(known)
    return means


def _line(columns: Sequence[str], row: Mapping[str, Any], kind: str = "") -> str:
    cells = "".join(
        f"<td>{escape(row[name]) if isinstance(row.get(name), str) else _figure(row.get(name))}</td>"
        for name in columns
    )
    return f'<tr class="{kind}">{cells}</tr>'


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of figures as CSV; columns are those of all rows, in the order in which they first appear."""
    import csv

    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def words(name: str) -> str:
    """The name of a flat figure as it is read."""
    # The point in "0.5" is no border between names.
    return re.sub(r"\.(?!\d)", ": ", name).replace("_", " ")


def _figure(value: Any) -> str:
    if value is None:
        return _NOT_KNOWN
    return str(value) if isinstance(value, int) else f"{value:.3f}"
