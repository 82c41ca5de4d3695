"""Pictures of 256 colours, a third of the size, for what is kept with the project.

Plots and bones in one scale of colours show no difference. Several bones in colours of their own, with shading, do: not for those.
"""

from __future__ import annotations

import shutil
from pathlib import Path

COLOURS = 256


def with_few_colours(picture: Path, target: Path | None = None) -> None:
    """Write a PNG with a palette of at most `COLOURS`, to `target` or in its own place; what is transparent becomes white. One that has a
    palette stays as it is.

    The new file is written beside the target first. Raises InputError where the picture cannot be read.
    """
    # Those who make no pictures need not have it.
    from PIL import Image, UnidentifiedImageError

    from SSRKDCore.errors import InputError

    target = target or picture
    beside = target.with_name(f".{target.name}.part")
    try:
        with Image.open(picture, formats=["PNG"]) as opened:
            done = opened.mode == "P" and "transparency" not in opened.info
            image = opened.convert("RGBA")
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{picture} cannot be read as PNG ({error}): make it again.") from error
    if done:
        shutil.copyfile(picture, beside)
        beside.replace(target)
        return
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image).convert("RGB")
    flat.quantize(colors=COLOURS, dither=Image.Dither.NONE).save(beside, "PNG", optimize=True)
    beside.replace(target)
