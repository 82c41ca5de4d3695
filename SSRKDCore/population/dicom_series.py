"""Which CT of a folder of DICOM files is meant: an export often holds a scout, a dose report and several reconstructions."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.file_names import plain_name
from SSRKDCore.grid import Grid

_FEWEST_SLICES = 10


@dataclass(frozen=True)
class Series:
    """One DICOM series.

    Attributes
    ----------
    uid: Series Instance UID.
    number, description: as the scanner stored them; may be empty.
    files: its slices in order.
    is_volume: False for what is no CT, a scout, or too few slices for a knee.
    """

    uid: str
    number: str
    description: str
    files: tuple[Path, ...]
    is_volume: bool

    def __str__(self) -> str:
        words = f"'{self.description}', " if self.description else ""
        return f"{self.number or self.uid} ({words}{len(self.files)} slices)"


def read_ct_series(path: str | Path, series: str | None = None) -> tuple[NDArray[np.float32], Grid, list[str]]:
    """Read a CT: a volume file, or the one CT series of a folder of DICOM files and of the folders in it.

    series: number, description or UID of the series, where a folder holds several.

    Returns the values float32 [z, y, x] in HU, their grid (LPS mm), and warnings. Raises InputError as `read_ct` does, and, with
    their names, when a folder holds several CT series and none was chosen, or none is the chosen one.
    """
    path = Path(path)
    if not path.is_dir():
        if series is not None:
            raise InputError(f"{path} is no folder of DICOM files: leave out --series.")
        return read_ct(path)
    found = find_series(path)
    if not found:
        raise InputError(f"{path} holds no DICOM slices: name a folder of DICOM slices, or a NRRD or NIfTI file.")
    chosen, warnings = _chosen(path, found, series)
    with _folder_of(chosen.files) as folder:
        try:
            values, grid, more = read_ct(folder)
        except InputError as error:
            raise InputError(str(error).replace(str(folder), f"Series {chosen} of {path}")) from error
    return values, grid, warnings + [words.replace(str(folder), str(path)) for words in more]


def find_series(folder: Path) -> list[Series]:
    """The DICOM series in a folder and the folders below it, by number. Files that are no DICOM are passed over."""
    import pydicom
    import SimpleITK

    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    found = []
    try:
        for inside in [folder, *sorted(item for item in folder.rglob("*") if item.is_dir())]:
            for uid in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(plain_name(inside)):
                files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(inside), uid)
                # Tags that are absent or unreadable say nothing against a series here; `read_ct` judges the slices.
                header = pydicom.dcmread(files[0], stop_before_pixels=True, force=True)
                kind = [str(word).upper() for word in header.get("ImageType", None) or ()]
                is_volume = (
                    str(header.get("Modality", "CT")) == "CT"
                    and "LOCALIZER" not in kind
                    and len(files) >= _FEWEST_SLICES
                )
                number, description = (
                    " ".join(str(header.get(tag, None) or "").split()) for tag in ("SeriesNumber", "SeriesDescription")
                )
                found.append(Series(uid, number, description, tuple(Path(name) for name in files), is_volume))
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    return sorted(found, key=lambda item: (len(item.number), item.number, item.uid))


def _chosen(folder: Path, found: list[Series], wanted: str | None) -> tuple[Series, list[str]]:
    names = "; ".join(str(item) for item in found)
    if wanted is not None:
        matching = [item for item in found if wanted in (item.uid, item.number, item.description)]
        if len(matching) != 1:
            how_many = f"{len(matching)} series" if matching else "no series"
            raise InputError(
                f"{folder} holds {how_many} '{wanted}': choose by number, description or UID from {names}."
            )
        return matching[0], []
    if len(found) == 1:
        return found[0], []
    volumes = [item for item in found if item.is_volume]
    if len(volumes) != 1:
        raise InputError(f"{folder} holds {len(found)} DICOM series: choose one with --series from {names}.")
    return volumes[0], [f"{folder} holds {len(found)} DICOM series; {volumes[0]} is the only CT volume and was taken."]


@contextmanager
def _folder_of(files: tuple[Path, ...]) -> Iterator[Path]:
    """A folder that holds these files and no others: links where the system allows them, else copies."""
    with tempfile.TemporaryDirectory(prefix="ssrkd-series-") as name:
        for number, file in enumerate(files):
            target = Path(name) / f"{number:06d}.dcm"
            try:
                target.symlink_to(file.absolute())
            except OSError:
                shutil.copyfile(file, target)
        yield Path(name)
