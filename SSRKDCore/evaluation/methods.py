"""The methods that can be compared, by name: our models and the baselines, each loaded when it is asked for."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.errors import InputError

if TYPE_CHECKING:
    from SSRKDCore.evaluation.case_evaluation import Reconstruct
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.style_matching import StyleReference

Cancelled = Callable[[], bool] | None

#: name -> what the path after it names.
METHODS: dict[str, str] = {
    "model": "a model folder or the name of a bundled model",
    "network": "likewise; its network alone, without refinement",
    "ssm": "a shape model (.npz); its silhouettes are fitted to both views (Baka et al. 2012)",
    "ssim": "SHAPE,INTENSITY: a shape model and its intensity model, fitted through simulated radiographs (Klima et al. 2016)",
    "volume-cnn": "a model folder of the volume network (Kasten et al. 2020)",
}
_BASELINES: dict[str, tuple[str, str]] = {
    "ssm": ("SSRKDCore.evaluation.baselines.ssm", "ssm_method"),
    "ssim": ("SSRKDCore.evaluation.baselines.ssim", "ssim_method"),
    "volume-cnn": ("SSRKDCore.evaluation.baselines.volume_cnn", "volume_cnn_method"),
}


@dataclass(frozen=True)
class Method:
    """A method, ready to reconstruct cases.

    Attributes
    ----------
    name: for tables and plots.
    reconstruct: the job, as evaluate_cases wants it.
    settings: what its answers depend on, plain values.
    remedied: (prepare, look) -> the job with images prepared and matched first, see `case_reconstruction`; None where the method reads
        images in its own way.
    model: where the method is one, for experiments that go on training it.
    """

    name: str
    reconstruct: Reconstruct
    settings: Mapping[str, Any]
    remedied: Callable[[bool, StyleReference | None], Reconstruct] | None = None
    model: Model | None = None


def load_method(
    kind: str, path: str | None, resolution: int, device: str = "auto", cancelled: Cancelled = None
) -> Method:
    """A method by the name of its kind.

    Parameters
    ----------
    kind: one of METHODS. path: what METHODS says; None takes the shipped model, which only "model" has.
    resolution: samples along a side of the cube, for methods that sample one. device: for networks. cancelled: asked while a case is
    worked on.

    Raises InputError for another kind, a path that is missing or unusable, or a baseline that this installation lacks.
    """
    if kind not in METHODS:
        raise InputError(f"There is no method '{kind}': use one of {', '.join(METHODS)}.")
    if kind in ("model", "network"):
        return _model(path, resolution, device, cancelled, refine=kind == "model")
    if path is None:
        raise InputError(f"The method '{kind}' needs {METHODS[kind]}: write {kind}=PATH.")
    files = [Path(part) for part in (path.split(",") if kind == "ssim" else [path])]
    if len(files) != (2 if kind == "ssim" else 1) or not all(file.exists() for file in files):
        raise InputError(f"{path} does not exist or is incomplete: the method '{kind}' needs {METHODS[kind]}.")
    module, name = _BASELINES[kind]
    try:
        factory = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError(
            f"This installation has no method '{kind}': leave it out, or install a version that has."
        ) from error
    settings: dict[str, Any] = {"kind": kind, "sha256": [digest(file) for file in files]}
    if kind == "volume-cnn":
        return Method(kind, factory(*files, resolution, device, cancelled), settings | {"resolution": resolution})
    return Method(kind, factory(*files, cancelled=cancelled), settings)


def _model(path: str | None, resolution: int, device: str, cancelled: Cancelled, refine: bool) -> Method:
    from SSRKDCore.evaluation.case_evaluation import case_reconstruction
    from SSRKDCore.networks.model_folder import SURFACE_CORRECTION_ENTRY, load_model
    from SSRKDCore.networks.model_settings import settings_identity

    model = load_model(path)
    weights = model.card.get("weights")
    settings: dict[str, Any] = {
        "kind": "model",
        "name": model.name,
        "weights": weights,
        "network": settings_identity(model),
        "resolution": resolution,
    }
    if refine and model.card.get("shape_prior"):
        settings["shape_prior"] = model.card["shape_prior"]
        if SURFACE_CORRECTION_ENTRY in model.card:
            settings[SURFACE_CORRECTION_ENTRY] = model.card[SURFACE_CORRECTION_ENTRY]

    def remedied(prepare: bool, look: StyleReference | None) -> Reconstruct:
        return case_reconstruction(model, resolution, device, cancelled, prepare=prepare, look=look, refine=refine)

    job = case_reconstruction(model, resolution, device, cancelled, refine=refine)
    return Method(model.name if refine else f"{model.name}, network alone", job, settings, remedied, model)


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    found = hashlib.sha256()
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    for file in files:
        if path.is_dir():
            found.update(file.relative_to(path).as_posix().encode("utf-8"))
        with file.open("rb") as content:
            for block in iter(lambda: content.read(1 << 20), b""):
                found.update(block)
    return found.hexdigest()


def parsed_method(words: str) -> tuple[str, str, str | None]:
    """(row name, kind, path) of KIND, KIND=PATH or ROW:KIND=PATH, the row's name being the kind's where it is not said."""
    head, separator, path = words.partition("=")
    row, colon, kind = head.rpartition(":")
    if not kind or (colon and not row) or (separator and not path):
        raise InputError(f"--method {words} is not understood: write KIND=PATH, or ROW:KIND=PATH to name the row.")
    return row if colon else kind, kind, path or None
