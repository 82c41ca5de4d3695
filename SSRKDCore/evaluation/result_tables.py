"""Tables of a result page, as HTML text with everything escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from SSRKDCore.evaluation.table_one import ALL_BONES

_COLUMNS = {
    "exact_assd_mm": "exact ASSD",
    "exact_hd95_mm": "exact HD95",
    "exact_hd_mm": "exact HD",
    "dice": "Dice",
    "paper_assd_mm": "paper-protocol ASSD",
    "paper_hd_mm": "paper-protocol HD",
}
_MAXIMUM_CHARACTERS = 20_000


def bone_table(caption: str, table: Mapping[str, Mapping[str, Any]]) -> str:
    """Table 1: a row a bone, in each measure's cell mean, deviation, interval and worst case."""
    heads = "".join(f"<th>{escape(words)}</th>" for words in _COLUMNS.values())
    rows = []
    for bone, row in table.items():
        name = "all bones" if bone == ALL_BONES else bone
        mark = " class='bad'" if row["failed"] else ""
        cells = "".join(f"<td>{_figures(row[measure])}</td>" for measure in _COLUMNS)
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{int(row['subjects'])}</td><td>{int(row['scored'])}</td>"
            f"<td{mark}>{int(row['failed'])}</td>{cells}</tr>"
        )
    return _table(caption, f"<th>bone</th><th>subjects</th><th>scored</th><th>failed</th>{heads}", rows)


def _figures(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    deviation = "" if found["sd"] is None else f" &plusmn; {found['sd']:.2f}"
    interval = "" if found["low"] is None else f"<br>{found['low']:.2f} to {found['high']:.2f}"
    return f"{found['mean']:.2f}{deviation}{interval}<br>worst {found['worst']:.2f}"


def difference_table(first: str, differences: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Paired differences to the first point, over all bones, a row a point."""
    measures = ("exact_assd_mm", "exact_hd95_mm", "dice", "paper_assd_mm")
    rows = []
    for point, bones in differences.items():
        cells, pairs = [], None
        for measure in measures:
            found = bones[ALL_BONES].get(measure)
            if found is None:
                cells.append("<td>-</td>")
                continue
            pairs = pairs or (found["pairs"], found["unpaired"])
            interval = "" if found["low"] is None else f"<br>{found['low']:+.3f} to {found['high']:+.3f}"
            cells.append(f"<td>{found['mean']:+.3f}{interval}</td>")
        known = pairs or (0, 0)
        rows.append(
            f"<tr><td>{escape(point)}</td>{''.join(cells)}<td>{int(known[0])}</td><td>{int(known[1])}</td></tr>"
        )
    heads = "".join(f"<th>{escape(_COLUMNS[measure])}</th>" for measure in measures)
    caption = f"Difference to {first} on the same cases (mean over bones, 95 % interval over subjects)"
    return _table(caption, f"<th></th>{heads}<th>pairs</th><th>without pair</th>", rows)


def correlation_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Rank correlations, a row a bone."""
    rows = []
    for name, figures in found.items():
        rho, p = figures["spearman"], figures["p"]
        known = f"<td>{'-' if rho is None else f'{rho:.2f}'}</td><td>{'-' if p is None else f'{p:.2g}'}</td>"
        rows.append(f"<tr><td>{escape(name)}</td>{known}<td>{int(figures['pairs'])}</td></tr>")
    caption = "Rank correlation (Spearman) of the outline distance with the exact ASSD"
    return _table(caption, "<th></th><th>correlation</th><th>p</th><th>pairs</th>", rows)


def plain_table(values: Mapping[str, Any]) -> str:
    """A row a key: plain values as they are, others as JSON, cut where they are long."""
    rows = []
    for key, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        cut = text[:_MAXIMUM_CHARACTERS] + (" ..." if len(text) > _MAXIMUM_CHARACTERS else "")
        rows.append(f"<tr><td>{escape(str(key))}</td><td class='words'><code>{escape(cut)}</code></td></tr>")
    return _table("", "<th></th><th class='words'></th>", rows)


def _table(caption: str, heads: str, rows: list[str]) -> str:
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(rows)
    return f"<div class='wide'><table>{title}<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
