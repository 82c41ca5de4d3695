"""What a wheel carries, what the files say about themselves, and that the README's words are true."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from SSRKDCore import cli


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())


def test_every_package_is_in_the_wheel(repository: Path, project: dict) -> None:
    found = {
        ".".join(path.parent.relative_to(repository).parts) for path in (repository / "SSRKDCore").rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"SSRKDCore.resources"}
    for pattern in project["tool"]["setuptools"]["package-data"]["SSRKDCore.resources"]:
        assert list((repository / "Resources").glob(pattern)), pattern


def test_names_versions_and_extras(project: dict) -> None:
    assert project["project"]["name"] == "ssrkdcore"
    assert project["project"]["scripts"] == {"ssrkd": "SSRKDCore.cli:main"}
    assert set(project["project"]["optional-dependencies"]) == {"train", "dicom-codecs", "planning", "slicer", "dev"}
    assert project["project"]["license"] == "MIT"
    # PyPI's "tigre" is an unrelated project.
    extras = project["project"]["optional-dependencies"].values()
    everything = [*project["project"]["dependencies"], *(requirement for extra in extras for requirement in extra)]
    assert not any(re.match(r"(py)?tigre\b", requirement) for requirement in everything)


def test_tested_versions_are_pinned_for_all_that_is_installed_here(repository: Path, project: dict) -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (repository / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["train"], *extras["dicom-codecs"], *extras["dev"]]
    names = {re.split(r"[<>=!\[; ]", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned, names - pinned


def test_the_readme_names_commands_and_files_that_exist(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    commands = set(re.findall(r"^ssrkd ([a-z-]+)", text, flags=re.MULTILINE))
    assert commands and commands <= set(cli.COMMANDS)
    makefile = (repository / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (repository / link).is_file(), link


def test_the_bundled_model_says_what_it_is_and_is_small(repository: Path) -> None:
    folder = repository / "Resources" / "Models" / "compact"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 20_000_000
    card = " ".join((folder / "MODEL_CARD.md").read_text().split())
    for word in ("research only", "not a medical device", "Trained on", "Measured", "Known failures", "Budget"):
        assert word.lower() in card.lower(), word
    figures = json.loads((folder / "evaluation.json").read_text())
    for group, report in figures["groups"].items():
        assert group in card
        assert report["cases_scored"] + report["cases_failed"] == len(report["cases"]) > 0
    # The unseen legs are unseen: their subjects are not among those that the model's recipe trained on.
    recipe = json.loads((folder / "model.json").read_text())["training"]["recipe"]
    assert {"ICL_MRI", "TLEM2_CT"} <= set(recipe["population"]["excluded_subjects"])
