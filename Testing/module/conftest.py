"""What the module's tests share: a host with a real scene, and a sample that is reconstructed once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer_core", reason="the module's tests need slicer-core: make module-tests")
pytest.importorskip("PySide6", reason="the module's tests need PySide6: make module-tests")

sys.path.insert(0, str(Path(__file__).parent))

from slicer_host.application import Host, host

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture
def slicer_host() -> Iterator[Host]:
    """The host with an empty scene."""
    started = host()
    started.clear()
    yield started
    started.clear()


@pytest.fixture
def scene(slicer_host: Host) -> Any:
    """An empty MRML scene."""
    return slicer_host.scene


@pytest.fixture(scope="session")
def finished_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .mrb of the sample after the whole job was done in the panel, with the real engine: reconstructed and compared."""
    from slicer_host.panel import Panel

    started = host()
    started.clear()
    panel = Panel(started)
    panel.click("sampleButton")
    panel.waitUntilIdle()
    panel.widget.parameterNode.resolution = type(panel.widget.parameterNode.resolution).COARSE
    panel.click("reconstructButton")
    panel.waitUntilIdle()
    panel.click("compareButton")
    panel.waitUntilIdle()
    assert not started.errors, started.errors
    path = tmp_path_factory.mktemp("szene-\u00e4\u4e2d") / "finished.mrb"
    assert started.scene.WriteToMRB(str(path))
    panel.close()
    started.clear()
    return path


@pytest.fixture
def finished(slicer_host: Host, finished_scene: Path) -> Any:
    """The finished scene, read back; its parameter node."""
    from BiplanarBoneReconLib import layouts

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    layouts.register()
    assert slicer_host.scene.ReadFromMRB(str(finished_scene))
    return BiplanarBoneReconLogic().getParameterNode()
