"""What the engine needs in Slicer's Python, asked for once, in words, with its size.

PyTorch comes through the PyTorch extension (PyTorchUtils), which chooses the build for the computer's graphics card; the rest
through slicer.packaging. VTK and SimpleITK are Slicer's own builds and are never replaced.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass

import slicer
from packaging.requirements import Requirement
from slicer.i18n import tr as _

from .engine_files import MODULE_FOLDER
from .problems import Problem

#: What reading radiographs needs, and what comparing and exporting surfaces does: not the networks, which are large.
READING, SURFACES = ("pydicom",), ("numba", "trimesh", "tqdm")


@dataclass(frozen=True)
class Package:
    """A distribution, the module that it brings, its requirement, and its installed size in MB."""

    name: str
    module: str
    requirement: str
    megabytes: float

    @property
    def isMissing(self) -> bool:
        """Whether it is not there, or older than the engine needs."""
        if importlib.util.find_spec(self.module) is None:
            return True
        try:
            installed = importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return False  # Some of Slicer's own packages come without metadata.
        return not Requirement(self.requirement).specifier.contains(installed, prereleases=True)


def packages(planning: bool = False) -> list[Package]:
    """What the engine needs, and what planning needs besides, from Resources/packages.json."""
    groups = json.loads((MODULE_FOLDER / "Resources" / "packages.json").read_text(encoding="utf-8"))
    rows = groups["packages"] + (groups["planning"] if planning else [])
    return [Package(row["name"], row["module"], row["requirement"], row["installed_mb"]) for row in rows]


def missingPackages(planning: bool = False, only: Sequence[str] | None = None) -> list[Package]:
    """Those of `packages` that have to be installed; of `only` these names, where not all are needed."""
    importlib.invalidate_caches()
    wanted = [package for package in packages(planning) if only is None or package.name in only]
    return [package for package in wanted if package.isMissing]


def ensured(missing: Sequence[Package]) -> bool:
    """Ask once whether missing packages shall be installed, and install them; False where the answer is no. Raises Problem."""
    if not missing:
        return True
    if not slicer.util.confirmOkCancelDisplay(question(missing), "BiplanarBoneRecon"):
        return False
    install(missing)
    return True


def question(missing: Sequence[Package]) -> str:
    """What will be installed, and how much, for one dialogue."""
    lines = [
        _("\u2022 {package}, about {size:.0f} MB").format(package=package.name, size=package.megabytes)
        for package in missing
    ]
    words = [
        _("For this, BiplanarBoneRecon needs Python packages that Slicer does not have yet:"),
        "",
        *lines,
        "",
    ]
    if any(package.name == "torch" for package in missing):
        words.append(
            _("torch is installed by the PyTorch extension; with an NVIDIA graphics card it takes several GB.")
        )
    total = sum(package.megabytes for package in missing)
    words.append(_("Sizes are on disk: {total:.0f} MB in all. Install them now?").format(total=total))
    return "\n".join(words)


def install(missing: Sequence[Package]) -> None:
    """Install packages, without asking again. Raises Problem in words that say what to do."""
    torch = [package for package in missing if package.name == "torch"]
    rest = [package for package in missing if package.name != "torch"]
    if torch:
        _installTorch(torch[0])
    if rest:
        _pipInstall([package.requirement for package in rest])
    importlib.invalidate_caches()
    still = [package.name for package in missing if package.isMissing]
    if still:
        raise Problem(
            _(
                "{packages} could not be installed: check the internet connection and restart Slicer, then try again."
            ).format(packages=", ".join(still))
        )


def _installTorch(package: Package) -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise Problem(
            _(
                "The PyTorch extension is missing: install it in the Extensions Manager, restart Slicer, and "
                "try again. It chooses the PyTorch that fits this computer."
            )
        ) from error
    requirement = package.requirement.removeprefix("torch")
    if (
        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=requirement)
        is None
    ):
        raise Problem(
            _("PyTorch could not be installed: open the PyTorch Util module, install it there, and try again.")
        )


def _pipInstall(requirements: list[str]) -> None:
    from subprocess import CalledProcessError

    try:
        try:
            from slicer.packaging import pip_install
        except ImportError:  # Slicer 5.10
            slicer.util.pip_install(requirements)
        else:
            pip_install(requirements, requester="BiplanarBoneRecon")
    except (CalledProcessError, RuntimeError) as error:
        raise Problem(
            _("{packages} could not be installed: check the internet connection, then try again.").format(
                packages=", ".join(requirements)
            ),
            str(error),
        ) from error
