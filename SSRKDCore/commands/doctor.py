"""`ssrkd doctor`: what this installation can do, what is missing and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from typing import Any

from SSRKDCore import __version__
from SSRKDCore.console import say
from SSRKDCore.errors import InputError

HELP = "say what this installation can do and what is missing"

# distribution, module, what it is for, how to get it
_PACKAGES = (
    ("numpy", "numpy", "arrays", "pip install ssrkdcore"),
    ("scipy", "scipy", "components, nearest points", "pip install ssrkdcore"),
    ("torch", "torch", "networks", "pip install ssrkdcore (in Slicer: the PyTorch extension)"),
    ("safetensors", "safetensors", "model weights", "pip install ssrkdcore"),
    ("SimpleITK", "SimpleITK", "images and volumes", "pip install ssrkdcore"),
    ("vtk", "vtkmodules", "surfaces and pictures", "pip install ssrkdcore"),
    ("pydicom", "pydicom", "DICOM radiographs", "pip install ssrkdcore"),
    ("numba", "numba", "simulated radiographs on the CPU", "pip install ssrkdcore"),
    ("trimesh", "trimesh", "reading surfaces", "pip install ssrkdcore"),
    ("tqdm", "tqdm", "progress bars", "pip install ssrkdcore"),
    ("python-gdcm", "gdcm", "compressed DICOM", "pip install ssrkdcore[dicom-codecs]"),
    ("pylibjpeg-openjpeg", "openjpeg", "JPEG 2000 DICOM", "pip install ssrkdcore[dicom-codecs]"),
    ("manifold3d", "manifold3d", "cutting bones and making guides", "pip install ssrkdcore[planning]"),
    ("lightning", "lightning", "training", "pip install ssrkdcore[train]"),
    ("tensorboard", "tensorboard", "curves of a training", "pip install ssrkdcore[train]"),
    ("matplotlib", "matplotlib", "plots of experiments and reader studies", "pip install ssrkdcore[train]"),
    ("pillow", "PIL", "pictures of experiments", "pip install ssrkdcore[train]"),
    ("distributed", "distributed", "cases made on a Dask cluster", "pip install ssrkdcore[train]"),
    ("libigl", "igl", "an independent check of distances in the tests", "pip install ssrkdcore[dev]"),
    ("itk-rtk", "itk", "an independent projector for the tests", "pip install ssrkdcore[dev]"),
)
_REQUIRED = 10


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> list[dict[str, Any]]:
    rows = []
    for index, (distribution, module, purpose, source) in enumerate(_PACKAGES):
        # Slicer ships some of these without the metadata that pip reads, so the module itself decides.
        present = importlib.util.find_spec(module) is not None
        rows.append(
            {
                "package": distribution,
                "version": _version(distribution) if present else None,
                "present": present,
                "required": index < _REQUIRED,
                "purpose": purpose,
                "get": source,
            }
        )
    return rows


def _devices() -> list[dict[str, Any]]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    devices = [
        {"device": "cpu", "available": True, "detail": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"}
    ]
    cuda = torch.cuda.is_available()
    detail = torch.cuda.get_device_name() if cuda else "no CUDA GPU, or torch was built without CUDA"
    devices.append({"device": "cuda", "available": cuda, "detail": detail})
    mps = bool(torch.backends.mps.is_available())
    devices.append({"device": "mps", "available": mps, "detail": "Apple GPU" if mps else "not an Apple GPU"})
    return devices


def _models() -> list[dict[str, Any]]:
    from SSRKDCore.resource_files import models_folder

    try:
        folders = sorted(path for path in models_folder().iterdir() if path.is_dir())
    except (InputError, FileNotFoundError) as error:
        return [{"model": None, "usable": False, "detail": str(error)}]
    if importlib.util.find_spec("torch") is None:
        return [{"model": path.name, "usable": False, "detail": "torch is missing"} for path in folders]
    from SSRKDCore.networks.model_folder import load_model

    rows = []
    for path in folders:
        try:
            model = load_model(path)
            rows.append(
                {
                    "model": path.name,
                    "usable": True,
                    "detail": f"{model.kind} network, {sum(p.numel() for p in model.network.parameters()):,} parameters",
                }
            )
        except InputError as error:
            rows.append({"model": path.name, "usable": False, "detail": str(error)})
    return rows


def _backends() -> list[dict[str, Any]]:
    from SSRKDCore.drr.projector import available_backends

    return [
        {"backend": name, "available": reason is None, "detail": reason or "ready"}
        for name, reason in available_backends().items()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Collect versions, devices, projector backends and models; `exit_code` 1 when something required is missing or broken."""
    packages = _packages()
    report: dict[str, Any] = {
        "ssrkdcore": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": _devices(),
        "projectors": _backends() if importlib.util.find_spec("numba") else [],
        "models": _models(),
    }
    missing = [row["package"] for row in packages if row["required"] and not row["present"]]
    broken = [row["detail"] for row in report["models"] if not row["usable"]]
    supported = (3, 11) <= sys.version_info[:2] < (3, 13)
    report["problems"] = [f"{name} is missing" for name in missing] + broken
    if not supported:
        report["problems"].append(f"Python {platform.python_version()} is not tested; use 3.11 or 3.12")
    say(f"ssrkdcore {__version__}, Python {report['python']}, {report['platform']}")
    for row in packages:
        state = row["version"] or ("present" if row["present"] else f"MISSING ({row['get']})")
        say(f"  {row['package']:20} {state:24} {row['purpose']}")
    for title, rows, key in (("device", report["devices"], "device"), ("projector", report["projectors"], "backend")):
        for row in rows:
            say(f"  {title:10} {row[key]:10} {'yes' if row['available'] else 'no ':4} {row['detail']}")
    for row in report["models"]:
        say(f"  model      {row['model']!s:10} {'yes' if row['usable'] else 'NO ':4} {row['detail']}")
    say("Nothing is missing." if not report["problems"] else "Problems: " + "; ".join(report["problems"]))
    report["exit_code"] = 1 if report["problems"] else 0
    return report
