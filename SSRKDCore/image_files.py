"""Writing images and volumes by SimpleITK, whose own error does not say why a file did not become whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK

_PROBE_BYTES = 1024 * 1024


def write_image(path: str | Path, image: SimpleITK.Image, compressed: bool = False, level: int = -1) -> None:
    """Write an image in the format that the file's name says; -1 leaves the level of compression to the format.

    Raises OSError, with the system's reason where it gives one, when the file does not become whole.
    """
    import SimpleITK

    try:
        SimpleITK.WriteImage(image, str(path), useCompression=compressed, compressionLevel=level)
    except RuntimeError as error:
        # ITK keeps the system's reason to itself; whoever asks for more room at the same place hears it.
        with Path(path).open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
        raise OSError(f"{Path(path).name} could not be written whole, most likely because the disk is full") from error
