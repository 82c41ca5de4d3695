"""Writes BiplanarBoneRecon/Resources/packages.json: what the engine and planning need in Slicer's Python, and how much disk that takes.

Run it in the environment of the module's tests: `python Testing/module/package_sizes.py`. Requirements come from pyproject.toml, sizes
from the files that are installed here, dependencies included.
"""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "BiplanarBoneRecon" / "Resources" / "packages.json"
# Slicer's own builds, which pip must not replace, and what every Slicer has.
PART_OF_SLICER = {"vtk", "simpleitk", "numpy", "scipy"}


def requirements(extra: str = "") -> list[Requirement]:
    """What the engine needs and Slicer lacks, or what an extra of it needs besides."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    words = project["optional-dependencies"][extra] if extra else project["dependencies"]
    needed = [Requirement(line) for line in words]
    return [item for item in needed if item.name.lower() not in PART_OF_SLICER]


def installed_mb(name: str, seen: set[str]) -> float:
    """MB of a distribution and of its dependencies that were not counted yet."""
    if name.lower() in seen:
        return 0.0
    seen.add(name.lower())
    try:
        files = importlib.metadata.files(name) or []
        needs = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return 0.0
    size = sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file()) / 1e6
    chosen = [
        item for words in needs if (item := Requirement(words)).marker is None or item.marker.evaluate({"extra": ""})
    ]
    return size + sum(installed_mb(item.name, seen) for item in chosen)


def main() -> None:
    seen = set(PART_OF_SLICER)

    def rows(needed: list[Requirement]) -> list[dict[str, str | float]]:
        return [
            {
                "name": item.name,
                "module": item.name,
                "requirement": str(item),
                "installed_mb": max(0.1, round(installed_mb(item.name, seen), 1)),
            }
            for item in needed
        ]

    text = {
        "measured_by": "python Testing/module/package_sizes.py (CPU build of torch)",
        "packages": rows(requirements()),
        "planning": rows(requirements("planning")),
    }
    TARGET.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
