"""Results of evaluations and experiments as one HTML page: pictures inside it, no script, nothing from a network."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.evaluation_run import unlabelled_words
from SSRKDCore.evaluation.result_tables import bone_table, correlation_table, difference_table, plain_table
from SSRKDCore.json_files import read_json

REPORT_FILE = "report.json"
MAXIMUM_PICTURE_BYTES = 6 * 1024 * 1024
MAXIMUM_PAGE_BYTES = 80 * 1024 * 1024
_MAXIMUM_REPORT_BYTES = 64 * 1024 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
h3 { font-size: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.words, th.words { text-align: left; }
td.bad { color: #a40000; font-weight: 600; }
code { display: block; background: #f3f3f3; padding: .5rem; overflow-wrap: anywhere; white-space: pre-wrap; font-size: .8rem; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption, .small { font-size: .8rem; color: #555; }
@media print { body { max-width: none; padding: 0; } section { break-inside: auto; } figure, tr { break-inside: avoid; }
 .wide { overflow: visible; } table { font-size: 7pt; } nav { display: none; } }
"""


@dataclass(frozen=True)
class Page:
    """What was written: the results' folders, how many pictures, and what was left out, with the reason."""

    results: tuple[str, ...]
    pictures: int
    left_out: tuple[str, ...]


def write_page(folder: str | Path, out: str | Path, title: str = "Evaluation", overwrite: bool = False) -> Page:
    """Write one page of every report.json below a folder, in the order of the paths.

    Parameters
    ----------
    folder: below which results lie. out: the page. title: its heading. overwrite: replace an existing page.

    Raises InputError when there is no result, or the page cannot be written where it shall be.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name the folder that holds results.")
    if out.exists() and not (overwrite and out.is_file()):
        raise InputError(f"{out} exists already: choose another file, or add --overwrite to replace it.")
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out.parent} is not a folder: choose another place for the page.")
    builder = _Builder(folder)
    for path in sorted(_reports(folder)):
        builder.add(path)
    if not builder.sections:
        reasons = f" ({'; '.join(builder.left_out)})" if builder.left_out else ""
        raise InputError(f"{folder} holds no result of ssrkd evaluate or experiment{reasons}: run one first.")
    beside = out.with_name(out.name + ".part")
    # Names of folders may hold bytes that are no UTF-8: they stand on the page as numbers.
    beside.write_text(builder.html(title), encoding="utf-8", errors="backslashreplace")
    os.replace(beside, out)
    return Page(tuple(builder.names), builder.pictures, tuple(builder.left_out))


def _reports(folder: Path) -> list[Path]:
    """report.json files below a folder, hidden folders (unfinished runs) left out."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if REPORT_FILE in files:
            found.append(Path(root) / REPORT_FILE)
    return found


class _Builder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sections: list[str] = []
        self.names: list[str] = []
        self.headings: list[str] = []
        self.left_out: list[str] = []
        self.pictures = 0
        self._bytes = 0

    def add(self, path: Path) -> None:
        """Add the section of one report."""
        name = path.parent.relative_to(self.folder).as_posix()
        try:
            report = read_json(path, "a report", _MAXIMUM_REPORT_BYTES)
        except InputError as error:
            self.left_out.append(str(error))
            return
        schema = str(report.get("schema", ""))
        try:
            heading, parts = _content(schema, report)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self.left_out.append(f"{name}: its report.json is damaged ({type(error).__name__}: {error})")
            return
        if not parts:
            self.left_out.append(f"{name}: a report of another kind ({schema or 'no schema'})")
            return
        parts += [self._picture(path.parent, str(picture)) for picture in _pictures(report)]
        number = len(self.sections) + 1
        command = f"<p class='small'>Made by</p><code>{escape(str(report.get('command') or 'not recorded'))}</code>"
        where = f"<p class='small'>Folder: {escape(name)}</p>"
        body = "\n".join([command, *parts, where])
        self.sections.append(f"<section id='result{number}'>\n<h2>{escape(heading)}</h2>\n{body}\n</section>")
        self.names.append(name)
        self.headings.append(heading)

    def _picture(self, folder: Path, name: str) -> str:
        path = folder / name
        try:
            there = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
        except (OSError, ValueError):  # A name that no file can have: a null character, too long, ...
            there = False
        if not there:
            self.left_out.append(f"{name}: the picture is missing")
            return f"<p class='small'>The picture {escape(name)} is missing.</p>"
        size = path.stat().st_size
        if size > MAXIMUM_PICTURE_BYTES or self._bytes + size > MAXIMUM_PAGE_BYTES:
            self.left_out.append(f"{name}: the picture has {size} bytes, too many for the page")
            return f"<p class='small'>The picture {escape(name)} is too large for this page: open it in its folder.</p>"
        content = path.read_bytes()
        if not content.startswith(_PNG):
            self.left_out.append(f"{name}: no PNG")
            return f"<p class='small'>{escape(name)} is no PNG.</p>"
        self._bytes += size
        self.pictures += 1
        data = base64.b64encode(content).decode("ascii")
        words = escape(name, quote=True)
        return (
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}"><figcaption>{words}</figcaption></figure>'
        )

    def html(self, title: str) -> str:
        """The whole page."""
        links = "\n".join(
            f"<li><a href='#result{number}'>{escape(heading)}</a></li>"
            for number, heading in enumerate(self.headings, start=1)
        )
        missing = "".join(f"<li>{escape(words)}</li>" for words in self.left_out)
        rest = f"<section><h2>Left out</h2><ul>{missing}</ul></section>" if missing else ""
        sections = "\n".join(self.sections)
        return (
            "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"<h1>{escape(title)}</h1>\n"
            "<p class='small'>Exact distances are point to triangle. Distances by the paper's protocol are point to point between samples "
            "and are above 0 even for equal surfaces; the two must not be compared with each other. All distances in mm.</p>\n"
            f"<nav><ol>\n{links}\n</ol></nav>\n{sections}\n{rest}\n</body>\n</html>\n"
        )


def _pictures(report: Mapping[str, Any]) -> Sequence[Any]:
    pictures = report.get("pictures")
    return pictures if isinstance(pictures, list) else []


def _content(schema: str, report: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Heading and parts of a report; no parts for one that is no evaluation."""
    if schema.startswith("ssrkd-experiment/"):
        return _experiment(report)
    if schema.startswith("ssrkd-evaluation/"):
        return _evaluation(report)
    if schema.startswith("ssrkd-reader-study") or (schema.startswith("ssrkd-") and "command" in report):
        shown = {key: value for key, value in report.items() if key not in ("schema", "command", "pictures")}
        return f"{schema.split('/')[0].removeprefix('ssrkd-')}", [plain_table(shown)]
    return "", []


def _evaluation(report: Mapping[str, Any]) -> tuple[str, list[str]]:
    model = report["model"]["name"]
    words = (
        f"{report['cases_scored']} cases scored, {report['cases_failed']} failed, resolution {report['resolution']}."
    )
    if report.get("cases_unlabelled"):
        words += f" {unlabelled_words(int(report['cases_unlabelled']))}"
    parts = [f"<p>{escape(words)}</p>"]
    if "table" in report:
        parts += [bone_table(f"Table 1: {model}", report["table"])]
        parts += [f"<p class='small'>{escape(str(report.get('table_words', '')))}</p>"]
    failures = [(case, found["failure"]) for case, found in report["cases"].items() if found["failure"]]
    return f"Evaluation: {model}", parts + _failures(failures)


def _experiment(report: Mapping[str, Any]) -> tuple[str, list[str]]:
    parts = [f"<p>{escape(str(report['budget']))}.</p>"]
    parts += [f"<p>{escape(str(note))}</p>" for note in report["notes"]]
    for point, table in report["tables"].items():
        parts.append(bone_table(point, table))
    parts.append(f"<p class='small'>{escape(str(report['table_words']))}</p>")
    if report.get("differences"):
        parts.append(difference_table(str(report["differences_to"]), report["differences"]))
    if "rank_correlation_with_exact_assd" in report:
        parts.append(correlation_table(report["rank_correlation_with_exact_assd"]))
    failures = [(f"{item['case']}, {item['point']}", item["reason"]) for item in report["failures"]]
    failures += [(f"{item['case']}, {item['point']}", item["reason"]) for item in report["observed_failures"]]
    return f"{report['experiment']}: {report['title']}", parts + _failures(failures)


def _failures(failures: Sequence[tuple[str, str]]) -> list[str]:
    if not failures:
        return []
    items = "".join(f"<li>{escape(str(name))}: {escape(str(reason))}</li>" for name, reason in failures)
    return [f"<h3>Failures</h3><ul>{items}</ul>"]
