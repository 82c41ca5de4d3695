"""What the engine found out about a second view's position, in words: by how much it is moved, and what of that the images tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slicer.i18n import tr as _


def positionInWords(record: dict[str, Any], bones: str = "") -> list[str]:
    """A record of the kind "pair", one sentence a line, without its warnings. bones: name of the node whose bones were known before."""
    measured, uncertainty = record["measured"], record["uncertainty"]
    told: list[str] = []
    untold: list[str] = []
    for name, words in _directions().items():
        row = measured["pose"][name]
        degrees = name.endswith("_degrees")
        amount = _amount(row["value"], uncertainty[f"{name}_95"], degrees)
        (told if row["from_the_images"] else untold).append(words.format(amount=amount))
    lines = []
    if told:
        lines.append(
            _("The lateral view is moved, as the images tell (95\u00a0%): {directions}.").format(
                directions=", ".join(told)
            )
        )
    if untold:
        lines.append(
            _("The images do not tell, so known hardly better than before (95\u00a0%): {directions}.").format(
                directions=", ".join(untold)
            )
        )
    return [*lines, *_outlines(measured["outline_distance_mm"]), *_bones(measured["bones"], bones)]


def takenForGranted() -> list[str]:
    """What no image shows, and has to be known otherwise."""
    return [
        _("Distances to the detectors and pixel sizes, and where the AP view stands, remain as they were."),
        _(
            "The knee should not have bent between the two exposures: a bend looks like a turn of the lateral view in its plane, "
            "a third as large."
        ),
    ]


def assumedInWords(record: dict[str, Any]) -> list[str]:
    """All that the engine took for granted, in its own words."""
    return [_("Assumed: {words}.").format(words=words) for words in record["assumed"]]


def _directions() -> dict[str, str]:
    """By the engine's names of a view's turns and shifts, about and along its own axes: the beam, right and down in the image."""
    return {
        "shift_along_rows_mm": _("lower by {amount}"),
        "turn_about_beam_degrees": _("turned in its plane by {amount}"),
        "turn_about_columns_degrees": _("tilted up or down by {amount}"),
        "turn_about_rows_degrees": _("turned sideways by {amount} (the angle between the views)"),
        "shift_along_beam_mm": _("along its beam by {amount}"),
        "shift_along_columns_mm": _("to the right in its image by {amount}"),
    }


def _amount(value: float, uncertainty: float, degrees: bool) -> str:
    """In one piece, so that no line ends inside it."""
    # Adding 0 makes a rounded -0.0 a plain one.
    number = f"{round(value, 1) + 0.0:.1f}".replace("-", "\u2212")
    if degrees:
        return f"{number}\u00b0\u00a0\u00b1\u00a0{uncertainty:.1f}\u00b0"
    return f"{number}\u00a0\u00b1\u00a0{uncertainty:.1f}\u00a0mm"


def _outlines(distances: dict[str, list[float | None]]) -> Iterable[str]:
    before, after = distances["before"], distances["after"]
    # The engine writes null where it saw none.
    if None in (*before, *after):
        return
    words = _(
        "From the bones' outlines to edges in the images (AP, lateral): {before_ap:.2f} and {before_lateral:.2f} mm before, "
        "{after_ap:.2f} and {after_lateral:.2f} mm after."
    )
    yield words.format(before_ap=before[0], before_lateral=before[1], after_ap=after[0], after_lateral=after[1])


def _bones(kind: str, name: str) -> Iterable[str]:
    given = _(
        "The shape of the bones is that of {name}: comparing a reconstruction with these bones is no independent check any more."
    )
    words = {
        "known": given.format(name=name) if name else _("The shape of the bones was given."),
        "reconstructed": _(
            "The shape of the bones is that which the network reconstructs from these very images: it fits a wrong position too."
        ),
        "shape_model": _(
            "The knee is taken to be shaped like those that the shape model knows: a deformed one can pass for a turned view."
        ),
    }
    if kind in words:
        yield words[kind]
