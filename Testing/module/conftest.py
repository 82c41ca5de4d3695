"""What the module's tests share: a host with a real scene, and a sample that is reconstructed once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer_core", reason="the module's tests need slicer-core: make module-tests")
pytest.importorskip("PySide6", reason="the module's tests need PySide6: make module-tests")

sys.path.insert(0, str(Path(__file__).parent))

from played_pair import PlayedEngine
from slicer_host.application import Host, host

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session", autouse=True)
def _started() -> None:
    """What runs inside Slicer as well asks for no host, and needs one."""
    host()


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


@pytest.fixture(scope="session")
def planned_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .mrb of the sample's true bones with a plan and a guide, made in the panel with the real engine."""
    from planning_steps import choose_bones, set_what_the_image_lacks
    from slicer_host.panel import Panel

    started = host()
    started.clear()
    panel = Panel(started)
    choose_bones(panel)
    panel.click("measureButton")
    panel.waitUntilIdle()
    set_what_the_image_lacks(panel)
    panel.click("guideButton")
    panel.waitUntilIdle()
    assert not started.errors, started.errors
    path = tmp_path_factory.mktemp("plan-\u00e4\u4e2d") / "planned.mrb"
    assert started.scene.WriteToMRB(str(path))
    panel.close()
    started.clear()
    return path


@pytest.fixture
def planned(slicer_host: Host, planned_scene: Path) -> Iterator[Any]:
    """The panel on the planned scene, read back."""
    from BiplanarBoneReconLib import layouts
    from slicer_host.panel import Panel

    layouts.register()
    assert slicer_host.scene.ReadFromMRB(str(planned_scene))
    panel = Panel(slicer_host)
    yield panel
    panel.close()


@pytest.fixture
def finished(slicer_host: Host, finished_scene: Path) -> Any:
    """The finished scene, read back; its parameter node."""
    from BiplanarBoneReconLib import layouts

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    layouts.register()
    assert slicer_host.scene.ReadFromMRB(str(finished_scene))
    return BiplanarBoneReconLogic().getParameterNode()


class _Script:
    """Runs a Python script in place of the engine, in a real process: what a broken engine does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch, self._folder = monkeypatch, folder

    def __call__(self, code: str) -> None:
        package = self._folder / "SSRKDCore"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(code)
        from BiplanarBoneReconLib import engine_process

        self._monkeypatch.setattr(engine_process, "engineEnvironment", lambda: {"PYTHONPATH": str(self._folder)})


@pytest.fixture
def engine_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slicer_host: Any) -> Callable[[str], None]:
    return _Script(monkeypatch, tmp_path)


@pytest.fixture
def engine(engine_does: Callable[[str], None], repository: Path, tmp_path: Path) -> PlayedEngine:
    """Plays `calibrate pair`."""
    return PlayedEngine(engine_does, repository, tmp_path)


@pytest.fixture(scope="session")
def pair_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .mrb of the bundled sample as its button loads and shows it."""
    from slicer_host.application import host
    from slicer_host.panel import Panel

    started = host()
    started.clear()
    opened = Panel(started)
    opened.click("sampleButton")
    opened.waitUntilIdle()
    assert not started.errors, started.errors
    path = tmp_path_factory.mktemp("paar-\u00e4") / "pair.mrb"
    assert started.scene.WriteToMRB(str(path))
    opened.close()
    started.clear()
    return path


@pytest.fixture
def pair_panel(slicer_host: Host, pair_scene: Path) -> Iterator[Any]:
    """The panel with the bundled sample's pair; its reference is the sample's true bones."""
    from slicer_host.panel import Panel

    assert slicer_host.scene.ReadFromMRB(str(pair_scene))
    opened = Panel(slicer_host)
    yield opened
    opened.close()
