"""What trust is measured against: statistics of a model's training domain, one file beside the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import to_json_text
from SSRKDCore.networks.model_folder import SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY, Model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.trust.bone_sizes import SIZE_NAMES, WIDTHS, size_vector
from SSRKDCore.trust.domain_distance import DomainDistance
from SSRKDCore.trust.error_model import ErrorModel, noticeable
from SSRKDCore.trust.limits import Limit
from SSRKDCore.trust.vertex_terms import TERM_NAMES
from SSRKDCore.trust.widening import widened

if TYPE_CHECKING:
    from SSRKDCore.trust.case_measures import CaseMeasures

Array = NDArray[np.float64]

#: Number 2: the contrast of a dark band is in units of the image's own.
SCHEMA = "ssrkd-trust/2"
FILE_NAME = "trust.safetensors"
#: Entry of a provenance that says on whom the intervals were calibrated, see `left_out_people`.
LEFT_OUT_PROVENANCE = "left_out_people"
#: Entry of a provenance that says what widened the intervals on strange images, see `fit_widening`.
WIDENING_PROVENANCE = "widening"
_MAXIMUM_BYTES = 32 * 1024 * 1024
_METADATA_KEY = "reference"
_AGAIN = "fit it again with python -m SSRKDCore.trust.fit_reference"
#: By SHA-256 of a model's weights, the `settings_identity` that its reference was fitted with, for files that were written before
#: references recorded it; a reference that is fitted again says so itself.
FITTED_WITH = {
    "a1eeda622a6939ff9656e5b0bbc6bb87ea44b8cd7e650c4fc2efed16b9d7ccda": "84f69c279a3db6d0bf99d7439d953b42c4292ff97e939d9843758d413a8e535f",
}
#: Measures with limits: distance of the images and of the bones' sizes from the training's, contrast across a bone's end, mean outline
#: distance (mm), largest expected error of a bone (mm).
LIMIT_NAMES = ("images", "sizes", "growth_plate", "outline", "expected_error")


@dataclass(frozen=True)
class TrustReference:
    """Statistics of a training domain.

    Attributes
    ----------
    model_sha256: `model_identity` of the model whose features and errors these are.
    images: distribution of `image_features`. sizes: of the logarithms of `bone_sizes` (12).
    size_spread: standard deviation, over training cases, of the mean logarithm of the six widths.
    limits: by LIMIT_NAMES, from cases held out of the distributions.
    errors: by bone; those whose errors the training cases show.
    widening: (K, 2), see `widening.fit_widening`; no rows in older files, whose intervals are for cases like the training's.
    provenance: command, cases, counts, for people.
    settings_sha256: `settings_identity` of the model then; empty in older files.
    """

    model_sha256: str
    images: DomainDistance
    sizes: DomainDistance
    size_spread: float
    limits: Mapping[str, Limit]
    errors: Mapping[str, ErrorModel]
    widening: Array = field(default_factory=lambda: np.zeros((0, 2)))
    provenance: Mapping[str, Any] = field(default_factory=dict)
    settings_sha256: str = ""

    def strangeness(self, measures: CaseMeasures) -> float:
        """How far the images, or the bones' sizes where these lie farther, are from the training's, in units of the amber limit."""
        images = self.images.distance(measures.features) / self.limits["images"].amber
        return max(images, self.size_distance(size_vector(measures.sizes)) / self.limits["sizes"].amber)

    def widened(self, measures: CaseMeasures) -> float:
        """How many times as large errors are expected to be as of a case like the training's."""
        return widened(self.widening, self.strangeness(measures)) if len(self.widening) else 1.0

    def expected_errors(self, measures: CaseMeasures) -> dict[str, Array]:
        """By bone, (N,) expected absolute errors in mm at the vertices that were measured."""
        multiple = self.widened(measures)
        return {
            name: multiple * self.errors[name].expected(terms)
            for name, terms in measures.terms.items()
            if name in self.errors
        }

    @property
    def needed_terms(self) -> dict[str, frozenset[str]]:
        """By bone the names of the terms that its expected error depends on, see `error_model.noticeable`."""
        return {
            bone: frozenset(name for name, counts in zip(TERM_NAMES, noticeable(model.weights), strict=True) if counts)
            for bone, model in self.errors.items()
        }

    def size_distance(self, vector: Array) -> float:
        """Distance of sizes (12,) mm from those of training knees; a size that is not known counts as usual."""
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(np.maximum(vector, 1.0))
        return self.sizes.distance(np.where(np.isfinite(vector), values, self.sizes.mean))

    def relative_size(self, vector: Array) -> float | None:
        """Mean logarithm of the widths that are known less that of the training: 0.03 is 3 % larger; None without widths."""
        chosen = [SIZE_NAMES.index(name) for name in WIDTHS if np.isfinite(vector[SIZE_NAMES.index(name)])]
        if len(chosen) < 3:
            return None
        return float(np.mean(np.log(np.maximum(vector[chosen], 1.0)) - self.sizes.mean[chosen]))


def save_reference(path: str | Path, reference: TrustReference) -> None:
    """Write a reference; it appears only when it is complete."""
    import os

    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {"widening": reference.widening}
    for name in ("images", "sizes"):
        domain: DomainDistance = getattr(reference, name)
        for key in ("mean", "scale", "directions", "variances"):
            arrays[f"{name}/{key}"] = np.ascontiguousarray(getattr(domain, key), dtype=np.float32)
    for bone, model in reference.errors.items():
        arrays[f"errors/{bone}"] = np.append(model.weights, model.factor)
    values = {
        "schema": SCHEMA,
        "model_sha256": reference.model_sha256,
        **({"settings_sha256": reference.settings_sha256} if reference.settings_sha256 else {}),
        "rest": {"images": reference.images.rest, "sizes": reference.sizes.rest},
        "size_spread": reference.size_spread,
        "limits": {name: asdict(limit) for name, limit in reference.limits.items()},
        "provenance": dict(reference.provenance),
    }
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(save(arrays, {_METADATA_KEY: to_json_text(values, ascii_only=True)}))
    os.replace(beside, path)


def load_reference(path: str | Path) -> TrustReference:
    """Read a reference. Raises InputError when it is missing, too large, damaged, or of another version."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: {_AGAIN}.")
    if path.stat().st_size > _MAXIMUM_BYTES:
        raise InputError(f"{path} is larger than any trust reference: {_AGAIN}.")
    try:
        with safe_open(path, framework="np") as content:
            values = json.loads((content.metadata() or {})[_METADATA_KEY])
            arrays = {name: np.asarray(content.get_tensor(name), dtype=np.float64) for name in content.keys()}  # noqa: SIM118
        if values.get("schema") != SCHEMA:
            raise InputError(f"{path} has schema {str(values.get('schema'))[:60]!r}, not {SCHEMA!r}: {_AGAIN}.")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise InputError(f"{path} holds values that are not finite: {_AGAIN}.")
        domains = {
            name: DomainDistance(
                arrays[f"{name}/mean"],
                arrays[f"{name}/scale"],
                arrays[f"{name}/directions"],
                arrays[f"{name}/variances"],
                float(values["rest"][name]),
            )
            for name in ("images", "sizes")
        }
        found = TrustReference(
            str(values["model_sha256"]),
            domains["images"],
            domains["sizes"],
            float(values["size_spread"]),
            {name: Limit(**{k: float(v) for k, v in values["limits"][name].items()}) for name in LIMIT_NAMES},
            {
                name.split("/", 1)[1]: ErrorModel(array[:-1], float(array[-1]))
                for name, array in arrays.items()
                if name.startswith("errors/")
            },
            arrays.get("widening", np.zeros(0)).reshape(-1, 2),
            dict(values.get("provenance") or {}),
            str(values.get("settings_sha256") or ""),
        )
        if not _plain_numbers(found):
            raise InputError(f"{path} holds values that are not finite: {_AGAIN}.")
        return found
    except InputError:
        raise
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}): {_AGAIN}.") from error


def _plain_numbers(reference: TrustReference) -> bool:
    """Whether all that stands beside the arrays is finite: what is compared with nothing is never unusual."""
    numbers = [reference.size_spread, reference.images.rest, reference.sizes.rest]
    numbers += [value for limit in reference.limits.values() for value in asdict(limit).values()]
    return bool(np.isfinite(numbers).all())


def model_identity(model: Model) -> str:
    """What a reference belongs to: SHA-256 of the weights, and of shape prior and surface correction where the model brings them, as all
    of these make surfaces."""
    beside = [(model.card.get(entry) or {}).get("sha256") for entry in (SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY)]
    parts = [model.card.get("weights", {}).get("sha256"), *beside]
    return "+".join(str(part) for part in parts if part)


def reference_of(model: Model) -> TrustReference:
    """The reference beside a model. Raises InputError when there is none, or it belongs to another model or to other settings of it."""
    path = Path(model.path) / FILE_NAME
    if not path.is_file():
        raise InputError(f"The model '{model.name}' brings no {FILE_NAME}: {_AGAIN}.")
    reference = load_reference(path)
    if reference.model_sha256 != model_identity(model):
        raise InputError(
            f"The {FILE_NAME} beside the model '{model.name}' belongs to other weights, another shape prior or another surface "
            f"correction: {_AGAIN}."
        )
    fitted_with = reference.settings_sha256 or FITTED_WITH.get(str(model.card.get("weights", {}).get("sha256")))
    if fitted_with and fitted_with != settings_identity(model):
        raise InputError(
            f"The {FILE_NAME} beside the model '{model.name}' was fitted with other settings of the network or its images, or with "
            f"another segmenter: restore these as they were, or {_AGAIN}."
        )
    return reference
