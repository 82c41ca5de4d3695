"""Keep the results of experiments with the project: `python -m SSRKDCore.evaluation.experiments.keep RESULTS --out DIR`.

Of each experiment its table and its pictures, plots as drawings (SVG), and one page that names the command, the commit and the budget of
each.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.few_colours import with_few_colours
from SSRKDCore.json_files import read_json
from SSRKDCore.output_folder import complete_folder
from SSRKDCore.training.code_version import today
from SSRKDCore.training.program import exit_code_of

TABLES = ("table.csv", "differences.csv")
#: A picture that is larger is not kept: histories of repositories never forget. A drawing that is larger is left for its picture.
MAXIMUM_PICTURE_BYTES = 600_000
MAXIMUM_DRAWING_BYTES = 1_000_000
_REPORT = "report.json"
#: Its pictures show several bones at once, which few colours spoil.
_SHADED = "gallery"


def kept_experiments(results: Path) -> dict[str, Path]:
    """Folder name -> folder of every finished experiment in `results`. Raises InputError where there is none."""
    found = {path.parent.name: path.parent for path in sorted(results.glob(f"*/{_REPORT}"))}
    if not found:
        raise InputError(
            f"{results} holds no finished experiment: run `ssrkd experiment NAME --out {results}/NAME` first."
        )
    return found


def keep(results: Path, out: Path, commit: str, add: bool = False) -> None:
    """Write OUT anew; `commit` is what experiments ran at that do not say it themselves.

    add: what OUT has of experiments that RESULTS lacks stays, as it is.

    Raises InputError where there is nothing to keep, or where `add` finds a page that is not of this program.
    """
    found = kept_experiments(results)
    sections = {}
    with complete_folder(out, overwrite=True) as folder:
        for name, section in (_sections_of(out) if add else {}).items():
            if name not in found:
                shutil.copytree(out / name, folder / name)
                sections[name] = section
        for name, source in found.items():
            report = read_json(source / _REPORT, "the report of an experiment")
            target = folder / name
            target.mkdir()
            for table in TABLES:
                if (source / table).is_file():
                    shutil.copyfile(source / table, target / table)
            pictures = [str(picture) for picture in report.get("pictures", []) if Path(str(picture)).suffix == ".png"]
            shown = [picture for picture in (_shown(source, picture) for picture in pictures) if picture is not None]
            for picture in shown:
                (target / picture).parent.mkdir(parents=True, exist_ok=True)
                if name == _SHADED or Path(picture).suffix == ".svg":
                    shutil.copyfile(source / picture, target / picture)
                else:
                    with_few_colours(source / picture, target / picture)
            sections[name] = _section(name, report, shown, commit)
        text = f"# Experiments\n\nWritten by `python -m SSRKDCore.evaluation.experiments.keep`, {today()}. Distances are exact, in mm.\n\n"
        (folder / "README.md").write_text(
            text + "\n".join(sections[name] for name in sorted(sections)), encoding="utf-8"
        )


def _sections_of(out: Path) -> dict[str, str]:
    """Experiment -> its part of the page in OUT, none without a page."""
    page = out / "README.md"
    if not page.is_file():
        return {}
    _, *parts = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {part.split(":", 1)[0]: f"## {part.rstrip()}\n" for part in parts}
    lost = sorted(name for name in found if "/" in name or not (out / name).is_dir())
    if lost:
        raise InputError(f"{page} tells of {lost[0]}, whose folder is not beside it: leave --add out to begin anew.")
    return found


def _shown(source: Path, picture: str) -> str | None:
    """What is kept of a picture: the drawing beside it where that is lines alone, or itself, None where both are too large.

    A drawing is text, half as large when it is packed, and a repository keeps its next version as what differs.
    """
    drawing = Path(picture).with_suffix(".svg").as_posix()
    if _is_at_most(source / drawing, MAXIMUM_DRAWING_BYTES) and b"<image" not in (source / drawing).read_bytes():
        return drawing
    return picture if _is_at_most(source / picture, MAXIMUM_PICTURE_BYTES) else None


def _is_at_most(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size <= size


def _section(name: str, report: Mapping[str, Any], pictures: list[str], commit: str) -> str:
    lines = [
        f"## {name}: {report.get('title', name)}",
        "",
        f"`{report.get('command', '')}`, commit {report.get('commit', commit)}. {report.get('budget', '')}",
        "",
        *(f"{note}\n" for note in report.get("notes", [])),
        "| point | exact ASSD, mean over the bones | worst bone | bones not found |",
        "|---|---|---|---|",
    ]
    for point, bones in report.get("tables", {}).items():
        row = bones.get("all", {})
        lines.append(f"| {point} | {_figure(row, 'mean')} | {_figure(row, 'worst')} | {row.get('failed', 0)} |")
    return "\n".join([*lines, "", *(f"![{report.get('title', name)}]({name}/{picture})\n" for picture in pictures)])


def _figure(row: Mapping[str, Any], kind: str) -> str:
    value = (row.get("exact_assd_mm") or {}).get(kind)
    return "-" if value is None else f"{float(value):.2f}"


def main() -> int:
    """Copy tables and pictures of finished experiments, with a page that names their commands."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder of experiments' folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, replaced if it is there")
    parser.add_argument("--commit", default="unknown", help="that the experiments ran at, where they do not say")
    parser.add_argument("--add", action="store_true", help="leave what OUT has of experiments that RESULTS lacks")
    arguments = parser.parse_args()
    return exit_code_of("keep", lambda: keep(arguments.results, arguments.out, arguments.commit, arguments.add))


if __name__ == "__main__":
    sys.exit(main())
