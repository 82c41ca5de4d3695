"""What the engine's tests share: the optional real anatomy, and quick asymmetric shapes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Two test processes on two cores: more threads each only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

# A change is judged by the same examples each time; at a desk the fuzz tests look for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real anatomy beside the checkout (never part of it); tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not (folder / "manifest.json").is_file():
        pytest.skip("../shared/data is absent: real anatomy is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Folder of the published networks' expected outputs; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "reference"
    if not (folder / "golden.npz").is_file():
        pytest.skip("../shared/reference is absent: it is not part of the repository")
    return folder
