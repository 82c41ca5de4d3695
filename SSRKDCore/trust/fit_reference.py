"""Fit what trust is measured against: `python -m SSRKDCore.trust.fit_reference --model MODEL --cases DIR`.

Two thirds of the cases give the distributions and the error model, the other third the limits and the intervals' factor. No other image
is looked at: not the cases that the fit is measured on, and none that are to be flagged.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.experiments.result_log import ResultLog
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.bone_sizes import SIZE_NAMES, WIDTHS
from SSRKDCore.trust.domain_distance import fit_domain
from SSRKDCore.trust.error_model import COVERAGE, ErrorModel, fit_error_model
from SSRKDCore.trust.limits import fit_limit, quantile_limit
from SSRKDCore.trust.reference import FILE_NAME, TrustReference, model_identity, save_reference
from SSRKDCore.trust.training_observation import MEASURES, RESOLUTION, labelled_folders, observation
from SSRKDCore.trust.vertex_terms import TERM_NAMES

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]
Observation = Mapping[str, Any]

FEWEST_CASES = 24
DEFAULT_CASES = 48
_HELD_OUT = 3


def fit_reference(
    model: Model,
    folders: Sequence[Path],
    work: Path,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> TrustReference:
    """The reference of a model from labelled training cases with CTs.

    Parameters
    ----------
    model: an X-ray model. folders: of the cases.
    work: folder that keeps what is measured of each case: an interrupted fit goes on from there.
    seed: of rooms and images.

    Raises InputError for too few cases or unusable ones; Cancelled.
    """
    if len(folders) < FEWEST_CASES:
        raise InputError(f"{len(folders)} cases are too few to say what is usual: give at least {FEWEST_CASES}.")
    identity = model_identity(model)
    settings = settings_identity(model)
    described = {"model": identity, "settings": settings, "cases": [folder.name for folder in folders], "seed": seed,
                 "terms": TERM_NAMES, "measures": MEASURES}  # fmt: skip
    log = ResultLog(work, described)
    for index in range(len(log.records), len(folders)):
        if cancelled is not None and cancelled():
            raise Cancelled("The fit was cancelled.")
        if progress is not None:
            progress(index / len(folders), f"case {index + 1} of {len(folders)}")
        log.add(observation(folders[index], model, seed, index))
    provenance = {
        "command": "python -m SSRKDCore.trust.fit_reference",
        "cases": len(folders),
        "first_case": folders[0].name,
        "last_case": folders[-1].name,
        "seed": seed,
        "resolution": RESOLUTION,
        "coverage": COVERAGE,
    }
    return replace(reference_from(log.records, identity, provenance), settings_sha256=settings)


def reference_from(records: Sequence[Observation], identity: str, provenance: Mapping[str, Any]) -> TrustReference:
    """The reference from what `observation` kept of each case, in order."""
    # Pairs of neighbours hold one plain and one changed exposure; every third pair is held out, and with the first case of a person all
    # others of that person.
    first: dict[str, int] = {}
    places = [first.setdefault(_person(record), index) for index, record in enumerate(records)]
    held = [place // 2 % _HELD_OUT == _HELD_OUT - 1 for place in places]
    fitted = [record for record, out in zip(records, held, strict=True) if not out]
    others = [record for record, out in zip(records, held, strict=True) if out]
    images = fit_domain(np.concatenate([_array(record["features"]) for record in fitted]))
    sizes = np.log(np.maximum(np.stack([_array(record["sizes"]) for record in fitted]), 1.0))
    sizes = np.where(np.isfinite(sizes), sizes, np.nanmean(sizes, axis=0))
    widths = [SIZE_NAMES.index(name) for name in WIDTHS]
    reference = TrustReference(
        model_sha256=identity,
        images=images,
        sizes=fit_domain(sizes),
        size_spread=float(sizes[:, widths].mean(axis=1).std(ddof=1)),
        limits={},
        errors={bone: model for bone in BONE_NAMES if (model := _error_model(bone, fitted, others)) is not None},
    )
    limits = {
        "images": fit_limit([images.distance(row) for record in others for row in _array(record["features"])]),
        "sizes": fit_limit([reference.size_distance(_array(record["sizes"])) for record in others]),
        "growth_plate": quantile_limit([record["growth_plate"] for record in records if record["metal"] == "none"]),
        "outline": fit_limit([record["outline"] for record in others]),
        "expected_error": fit_limit([_worst(reference, record) for record in others]),
    }
    return replace(reference, limits=limits, provenance=dict(provenance))


def _person(record: Observation) -> str:
    """Whose knee a record is of; one that does not say is a person of its own."""
    return str(record.get("subject") or f"case {record['case']}")


def _array(values: Any) -> Array:
    """Numbers of a record, null as NaN."""
    return np.array(values, dtype=np.float64)


def _error_model(bone: str, fitted: Sequence[Observation], others: Sequence[Observation]) -> ErrorModel | None:
    """Of a bone; None where the errors of no case are known, either to fit or to calibrate: anything said of it would be invented."""

    def arrays(records: Sequence[Observation], key: str) -> list[Array]:
        return [_array(record[key][bone]) for record in records if bone in record["terms"] and bone in record["errors"]]

    to_fit, to_calibrate = arrays(fitted, "errors"), arrays(others, "errors")
    if not all(any(np.isfinite(errors).any() for errors in part) for part in (to_fit, to_calibrate)):
        return None
    return fit_error_model(arrays(fitted, "terms"), to_fit, arrays(others, "terms"), to_calibrate)


def _worst(reference: TrustReference, record: Observation) -> float:
    return max(
        float(reference.errors[bone].expected(_array(terms)).mean())
        for bone, terms in record["terms"].items()
        if bone in reference.errors
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fit what trust is measured against, from training cases.")
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled model")
    parser.add_argument("--cases", type=Path, required=True, help="folder of labelled training cases with CTs")
    parser.add_argument("--count", type=int, default=DEFAULT_CASES, help=f"how many of them ({DEFAULT_CASES})")
    parser.add_argument("--seed", type=int, default=0, help="of rooms and images (0)")
    parser.add_argument("--work", type=Path, help="folder to go on from (a hidden one beside the output)")
    parser.add_argument("--out", type=Path, help=f"file to write ({FILE_NAME} in the model's folder)")
    parsed = parser.parse_args(arguments)
    return exit_code_of("fit_reference", lambda: _fit(parsed))


def _fit(parsed: argparse.Namespace) -> None:
    """Fit, write and say; see `main`."""
    model = load_model(parsed.model)
    out = parsed.out or Path(model.path) / FILE_NAME
    work = parsed.work or Path.cwd() / f".{out.stem}-{model.name}.unfinished"
    folders = labelled_folders(parsed.cases)[: parsed.count]
    with progress_bar("Fitting trust") as progress:
        reference = fit_reference(model, folders, work, parsed.seed, progress)
    save_reference(out, reference)
    if parsed.work is None:
        shutil.rmtree(work, ignore_errors=True)
    for name, limit in reference.limits.items():
        say(f"{name:<15} typical {limit.typical:8.3f}   amber above {limit.amber:8.3f}   red above {limit.red:8.3f}")
    for bone, error_model in reference.errors.items():
        say(
            f"{bone:<8} weights {np.round(error_model.weights, 3).tolist()}, interval {error_model.factor:.2f} x expected"
        )
    say(f"Written: {out}")


if __name__ == "__main__":
    sys.exit(main())
