"""What a network is shown and how it looks at it, beside its weights: what was measured with a model holds for these settings alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from SSRKDCore.networks.model_folder import Model


def settings_identity(model: Model) -> str:
    """SHA-256 of architecture (with the size of the images, and how feature maps are sampled), of how intensities are standardised and
    scaled, and of both and the weights of the segmenter that makes the bone-enhanced image.
    """
    text = json.dumps(_settings(model), sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {"architecture": model.config.to_dict(), "input": asdict(model.input)}
    if model.segmenter is not None:
        weights = model.segmenter.card.get("weights", {}).get("sha256")
        found["segmenter"] = {**_settings(model.segmenter), "weights": weights}
    plain: dict[str, Any] = _canonical(found)
    return plain


def _canonical(value: Any) -> Any:
    """Numbers as they compare: 5 and 5.0 are one setting, however a file writes it."""
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
