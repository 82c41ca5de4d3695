"""Where the bundled models and the sample case lie."""

from __future__ import annotations

from pathlib import Path

from SSRKDCore.errors import InputError

DEFAULT_MODEL = "compact"


def resource_folder() -> Path:
    """The `Resources` folder of a checkout, or its copy inside an installed package.

    Raises InputError when the installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "resources", package.parent / "Resources"):
        if folder.is_dir():
            return folder
    raise InputError(
        "This installation of SSRKDCore lacks its Resources folder (models, sample case): install it again."
    )


def sample_case_folder() -> Path:
    """The bundled sample case (schema ssrkd-case/1)."""
    return resource_folder() / "SampleCase"


def models_folder() -> Path:
    """The folder that holds the bundled model folders."""
    return resource_folder() / "Models"
