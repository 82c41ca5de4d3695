"""Statistical style matching of what a network reads: the reference that a model brings, whether it fits, and its use on one view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import STYLE_REFERENCE_ENTRY, STYLE_REFERENCE_NAME, Model, style_reference_path
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.radiographs.style_matching import StyleReference

#: In place of a file: the reference that the model's folder brings.
OF_THE_MODEL = "model"


def load_look(path_or_word: str | None, model: Model) -> StyleReference | None:
    """The style reference of an option: a file of `ssrkd style-reference`, the one that the model brings for "model", None for None.

    Raises InputError where the file cannot be used, or the model's folder brings none.
    """
    if path_or_word is None:
        return None
    return look_of(model) if path_or_word == OF_THE_MODEL else StyleReference.load(path_or_word)


def look_of(model: Model) -> StyleReference:
    """The style reference that a model folder brings. Raises InputError where it brings none, or not the one of its model.json."""
    path = style_reference_path(model)
    if path is None:
        raise InputError(
            f"The model '{model.name}' brings no {STYLE_REFERENCE_NAME}: make one of its samples with ssrkd style-reference, or leave "
            "--match-style out."
        )
    described = model.card[STYLE_REFERENCE_ENTRY]
    good = isinstance(described, dict) and described.get("file") == STYLE_REFERENCE_NAME and path.is_file()
    if not good or sha256_of(path) != described.get("sha256"):
        raise InputError(
            f"{path} is not the style reference that model.json describes: get the model folder again, or leave --match-style out."
        )
    return StyleReference.load(path)


def check_look(look: StyleReference, standardisation: Mapping[str, Any], size: int, reader: str) -> None:
    """Raises InputError when a style reference is of images of another size or scale than those that a model reads."""
    if dict(standardisation) != ROBUST:
        raise InputError(f"The model '{reader}' reads line integrals as they are: leave --match-style out.")
    if look.size != size:
        raise InputError(
            f"The style reference is for images of {look.size} pixels a side and the model '{reader}' reads {size}: make one from this "
            "model's samples."
        )


def matched(
    image: NDArray[np.float32], coverage: NDArray[np.float32], look: StyleReference, what: str
) -> tuple[NDArray[np.float32], bool]:
    """A network view in a style, and whether that changed it.

    Parameters
    ----------
    image: (S, S) line integrals. coverage: (S, S) 0..1. what: how messages call the radiograph.

    Returns (S, S) to be standardised as others are: `image` itself where it lies within the usual, so that nothing changes.

    Raises InputError for an image without contrast.
    """
    try:
        result = look.matched(image, coverage)
        changed = not np.array_equal(result, standardise(image, coverage, ROBUST))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    return (result, True) if changed else (image, False)


def matching_words(look: StyleReference, views: Sequence[str]) -> str:
    """What matching did, for a report; views: names of those that it changed."""
    if not views:
        return f"Matching changed nothing: grey values and fineness of the radiographs are usual for {look.source}."
    return (
        f"The network read the views {', '.join(views)} with grey values and fineness brought into what is usual for {look.source}; "
        "refinement read the radiographs as they are."
    )
