"""MODEL_CARD.md: what model.json says, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SSRKDCore.json_files import to_json_text

_KIND_WORDS = {
    "xray": "Two knee radiographs to patella, femur, fibula and tibia (occupancy of points in millimetres).",
    "ct": "A knee CT to patella, femur, fibula and tibia (occupancy of points).",
    "segmenter": "One radiograph to bone and background.",
    "style": "One real radiograph to the look of a simulated one, geometry kept.",
}


def card_text(description: Mapping[str, Any]) -> str:
    """The text of a model card from the content of a model.json."""
    sections = [
        f"# {description['name']}",
        f"{_KIND_WORDS[description['kind']]} Research software, not a medical device.",
        f"- Licence of the weights: {description['licence']}\n- Made: {description['created']}\n"
        f"- Weights: {description['weights']['dtype']}, SHA-256 `{description['weights']['sha256']}`",
        f"## Training and measured errors\n\n{_as_list(description['training']) or 'Not recorded.'}",
        f"## Architecture\n\n{_as_list(description['architecture'])}",
        f"## Input\n\n{_as_list(description['input'])}",
    ]
    return "\n\n".join(sections) + "\n"


def _as_list(values: Mapping[str, Any], indent: str = "") -> str:
    lines = []
    for name, value in values.items():
        label = f"{indent}- {str(name).replace('_', ' ')}:"
        if isinstance(value, Mapping) and value:
            lines += [label, _as_list(value, indent + "  ")]
        else:
            words = value if isinstance(value, str) else " ".join(to_json_text(value).split())
            lines.append(f"{label} {words}")
    return "\n".join(lines)
