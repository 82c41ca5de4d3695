"""The rig of a set of radiographs: from their DICOM tags, from a named preset, or from a rig file.

Pixel spacing. A view needs the pitch on the detector. An uncalibrated spacing is that pitch. A calibrated one (see
`SSRKDCore.radiographs.dicom_spacing`) holds in a plane of the patient, which is taken to be the plane of the
isocentre, the
centre of the field of view: there, pitch = detector pitch * (source to isocentre) / (source to detector). So, with both
spacings known, their ratio is the magnification and places the isocentre at (source to detector) / magnification,
whatever distance to the patient the file states; with only the calibrated one, the detector's pitch follows from the
distances. Either way the view measures exactly the calibrated spacing at the isocentre.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SSRKDCore.anatomy import SIDES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.dicom_directions import beam_directions, image_axes
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.known_geometry import assumed_preset, assumption, with_assumptions
from SSRKDCore.geometry.presets import PRESET_NAMES, central_view, detector_width, preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.radiographs.radiograph import DicomGeometry, Radiograph

DEFAULT_PRESET = "room"
SOURCE_TO_DETECTOR_LIMITS_MM = (300.0, 6000.0)
# No bone in a patient is magnified more than this, even on a C-arm with the knee near the tube.
LARGEST_MAGNIFICATION = 3.0
_NO_ANGLES = "the files' angles are missing or not used, and the views are taken to be exact standard views"
# Two statements of a length agree when they differ by no more.
AGREEING = 0.02


def rig_for_radiographs(
    radiographs: Sequence[Radiograph],
    rig: Rig | str | Path | None = None,
    field_of_view_size: float | None = None,
    side: str | None = None,
) -> tuple[Rig, list[str]]:
    """The rig in which radiographs were taken, one view a radiograph, in their order, with their numbers of pixels.

    Parameters
    ----------
    radiographs: two or more, as read by `read_radiograph`; one where `rig` is a file or a Rig, whose calibration does not rest on a pair.
    rig: None (from the DICOM tags, else the preset "room"), a preset's name, the path of a rig.json, or a Rig.
    field_of_view_size: side of the reconstructed cube in mm; None takes the preset's or the file's.
    side: "right" or "left"; None takes what the files say.

    Returns the rig and warnings in words, those of `Rig.check` included.
    Raises InputError for unknown names, unusable files, images whose size contradicts the rig, and unusable rigs.
    """
    given = isinstance(rig, Path | Rig) or (rig is not None and rig not in PRESET_NAMES)
    if len(radiographs) < (1 if given else 2):
        raise InputError(
            f"A reconstruction needs two or more radiographs, not {len(radiographs)}: add the missing one."
        )
    if rig is None:
        found, warnings = rig_from_dicom(radiographs, field_of_view_size, side=side)
    elif isinstance(rig, str) and rig in PRESET_NAMES and rig != "published":
        found, warnings = _standard_rig(radiographs, rig, field_of_view_size, side, use_tags=False)
    else:
        found, warnings = _given_rig(radiographs, rig, side)
        if side is not None:
            warnings = stated_side(radiographs, side)[1] + warnings
        if field_of_view_size is not None:
            found = Rig(found.views, FieldOfView(found.field_of_view.center, field_of_view_size), found.provenance)
    return found, warnings + found.check()


def rig_from_dicom(
    radiographs: Sequence[Radiograph],
    field_of_view_size: float | None = None,
    fallback: str = DEFAULT_PRESET,
    side: str | None = None,
) -> tuple[Rig, list[str]]:
    """The rig that DICOM tags describe; what they leave out comes from a preset, each time with a warning.

    The central rays meet at the isocentre, which is the origin and the centre of the field of view; each meets the
    centre of its detector at a right angle. Conventions of the angles: see `SSRKDCore.geometry.dicom_directions`.

    Parameters
    ----------
    radiographs: two or more; those that are no DICOM take everything from the preset.
    field_of_view_size: side of the cube in mm; None takes the preset's.
    fallback: name of the preset.
    side: "right" or "left"; None takes what the files say.

    Returns the rig and the warnings.
    """
    return _standard_rig(radiographs, fallback, field_of_view_size, side, use_tags=True)


def _standard_rig(
    radiographs: Sequence[Radiograph], room: str, field_of_view_size: float | None, side: str | None, use_tags: bool
) -> tuple[Rig, list[str]]:
    warnings: list[str] = []
    names = view_names(radiographs)
    side, side_warning = stated_side(radiographs, side)
    warnings += side_warning
    base = preset(room, side, field_of_view_size=field_of_view_size)
    if use_tags and not any(radiograph.geometry for radiograph in radiographs):
        warnings.append(
            f"The images do not say how they were taken: the preset '{room}' is assumed, so sizes are only "
            "as right as it is."
        )
        use_tags = False
    beams, from_angles, words = beam_directions(radiographs, names, side, use_angles=use_tags)
    warnings += words
    assumed = [assumption("angles", _NO_ANGLES)] if use_tags and not from_angles else []
    views = []
    for radiograph, name, beam in zip(radiographs, names, beams, strict=True):
        c_arm = from_angles and radiograph.geometry is not None and radiograph.geometry.modality in ("XA", "RF")
        column, row, orientation_warning = image_axes(radiograph.geometry, beam, seen_from_detector=c_arm)
        if orientation_warning and radiograph.geometry is not None:
            warnings.append(f"{radiograph.source_path} {orientation_warning}.")
        to_isocentre, to_detector, spacing, words, missing = _distances(radiograph, name, room, base, use_tags)
        warnings += words
        if missing:
            part = f"the file of view '{name}' does not state {' nor '.join(missing)}, which is that of the preset '{room}'"
            assumed.append(assumption("magnification", part, name))
        views.append(
            central_view(
                name, beam, column, row, to_isocentre, to_detector, spacing, radiograph.rows, radiograph.columns
            )
        )
    provenance = {
        "from": "DICOM tags" if use_tags else "preset",
        "preset": room,
        "side": side,
        "angles": "positioner angles" if from_angles else "standard views",
        "images": [Path(radiograph.source_path).name for radiograph in radiographs],
    }
    rig = Rig(tuple(views), base.field_of_view, provenance)
    return (with_assumptions(rig, assumed) if use_tags else assumed_preset(rig, room)), warnings


def view_names(radiographs: Sequence[Radiograph]) -> list[str]:
    """Names for the views: the radiographs' own, else "ap", "lateral", "view3", ... by position."""
    names: list[str] = []
    for index, radiograph in enumerate(radiographs):
        name = radiograph.view or (("ap", "lateral")[index] if index < 2 else f"view{index + 1}")
        if name in names:
            if index < 2:
                raise InputError(
                    f"{radiographs[0].source_path} and {radiograph.source_path} are both {name} views: "
                    "give one AP and one lateral radiograph, or say which view each is."
                )
            name = f"view{index + 1}"
        names.append(name)
    return names


def stated_side(radiographs: Sequence[Radiograph], side: str | None) -> tuple[str, list[str]]:
    """The side that the user says, else the files, else right, and warnings in words."""
    stated = {radiograph.side for radiograph in radiographs if radiograph.side}
    if side is not None:
        if side not in SIDES:
            raise InputError(f"The side is '{side}', and it must be right or left.")
        if stated - {side}:
            return side, [f"You said {side} knee, and the files say {(stated - {side}).pop()}."]
        return side, []
    if len(stated) > 1:
        raise InputError("One radiograph is of a right knee and one of a left: give two radiographs of one knee.")
    if stated:
        return stated.pop(), []
    return "right", ["The files do not say which knee it is: the lateral beam is taken as that of a right knee."]


def _distances(
    radiograph: Radiograph, name: str, room: str, base: Rig, use_tags: bool
) -> tuple[float, float, tuple[float, float], list[str], list[str]]:
    """(source to isocentre, source to detector, pixel spacing on the detector, warnings, what was not stated), mm."""
    warnings: list[str] = []
    missing: list[str] = []
    path = radiograph.source_path
    model = base.view(name) if name in ("ap", "lateral") else base.views[0]
    preset_detector = model.source_to_detector
    preset_isocentre = float(np.linalg.norm(model.source))
    stated = radiograph.geometry if use_tags and radiograph.geometry else DicomGeometry(modality="")

    to_detector = stated.source_to_detector
    low, high = SOURCE_TO_DETECTOR_LIMITS_MM
    if to_detector is not None and not low <= to_detector <= high:
        warnings.append(f"{path} states a source-to-detector distance of {to_detector:g} mm, which is not believed.")
        to_detector = None
    if to_detector is None:
        to_detector = preset_detector
        missing.append("its source-to-detector distance")
        if use_tags:
            warnings.append(
                f"{path} states no source-to-detector distance: {to_detector:g} mm of the preset '{room}' is used."
            )
    to_isocentre, known, words = _to_isocentre(
        radiograph, stated, room, to_detector, preset_detector, preset_isocentre, use_tags
    )
    warnings += words

    # Of the knee, and not of the cube that is asked for: that must not move the knee.
    half = preset(room).field_of_view.size / 2
    if use_tags and to_isocentre + half > to_detector:
        table, known = to_isocentre, False
        to_isocentre = to_detector - max(preset_detector - preset_isocentre, half)
        warnings.append(
            f"{path} places the patient {table:g} mm from the source, where the knee would reach through the detector "
            f"(some makers mean the table top): {to_isocentre:g} mm to the knee's centre is used."
        )

    magnification = radiograph.calibrated_magnification
    spacing = radiograph.detector_pixel_spacing
    if magnification is not None and not 1.0 < magnification <= LARGEST_MAGNIFICATION:
        warnings.append(
            f"{path}: the calibrated and the detector's pixel spacing would mean a magnification of "
            f"{magnification:.3f}, "
            "which is impossible, so only the calibrated one is used."
        )
        magnification, spacing = None, None
    if magnification is not None:
        calibrated = to_detector / magnification
        if abs(calibrated / to_isocentre - 1) > AGREEING:
            warnings.append(
                f"{path}: the calibrated pixel spacing places the knee {calibrated:.0f} mm from the source, other "
                f"information {to_isocentre:.0f} mm; the calibration is followed."
            )
        to_isocentre, known = calibrated, True
    elif spacing is None and radiograph.pixel_spacing is not None:
        scale = to_detector / to_isocentre
        spacing = (radiograph.pixel_spacing[0] * scale, radiograph.pixel_spacing[1] * scale)
    if not known:
        missing.append("its distance from the source to the patient")
    if spacing is None:
        missing.append("its pixel spacing")
        pitch = detector_width(room) / radiograph.columns
        spacing = (pitch, pitch)
        warnings.append(
            f"{path} states no pixel spacing: its {radiograph.columns} columns are taken to span the "
            f"{detector_width(room):g} mm detector of the preset '{room}'."
        )
    if radiograph.spacing_plane == "object" and radiograph.pixel_spacing is not None:
        # The scale at the bone is stated, whatever the distances.
        missing.clear()
    if not use_tags and radiograph.geometry is not None and radiograph.geometry.source_to_detector is not None:
        own = radiograph.geometry.source_to_detector
        if abs(own / to_detector - 1) > AGREEING:
            warnings.append(
                f"{path} states a source-to-detector distance of {own:g} mm, and the chosen preset '{room}' has "
                f"{to_detector:g} mm: the preset is used."
            )
    return to_isocentre, to_detector, spacing, warnings, missing


def _to_isocentre(
    radiograph: Radiograph,
    stated: DicomGeometry,
    room: str,
    to_detector: float,
    preset_detector: float,
    preset_isocentre: float,
    use_tags: bool,
) -> tuple[float, bool, list[str]]:
    """Distance from the source to the isocentre: stated, or from the stated magnification, or the preset's; whether it was stated."""
    warnings: list[str] = []
    path = radiograph.source_path
    distance = stated.source_to_patient
    if distance is not None and not to_detector / (2 * LARGEST_MAGNIFICATION) <= distance <= to_detector:
        warnings.append(f"{path} states {distance:g} mm from the source to the patient, which is not believed.")
        distance = None
    if distance is not None:
        return distance, True, warnings
    factor = stated.estimated_magnification
    if factor is not None and 1.0 < factor <= LARGEST_MAGNIFICATION:
        return to_detector / factor, True, warnings
    # The gap between knee and detector varies less between rooms than the distance to the tube.
    distance = (
        to_detector - (preset_detector - preset_isocentre) if to_detector != preset_detector else preset_isocentre
    )
    if distance < to_detector / LARGEST_MAGNIFICATION:
        distance = to_detector * preset_isocentre / preset_detector
    if use_tags and radiograph.calibrated_magnification is None:
        warnings.append(
            f"{path} does not state the distance from the source to the patient: {distance:g} mm is assumed "
            f"(preset '{room}')."
        )
    return distance, False, warnings


def _given_rig(radiographs: Sequence[Radiograph], rig: Rig | str | Path, side: str | None) -> tuple[Rig, list[str]]:
    """A rig from a file, an object, or the published frame, with each view matched to a radiograph and its pixels."""
    if isinstance(rig, Rig):
        loaded, what = rig, "the rig"
    elif str(rig) == "published":
        loaded, what = assumed_preset(preset("published", side or "right"), "published"), "the preset 'published'"
    else:
        path = Path(rig)
        if not path.exists() and path.suffix == "":
            raise InputError(
                f"There is no rig preset or rig file '{rig}': use {', '.join(PRESET_NAMES)}, or a rig.json file."
            )
        loaded, what = Rig.load(path), str(path)
    if len(loaded.views) < len(radiographs):
        raise InputError(
            f"{what} has {len(loaded.views)} views for {len(radiographs)} radiographs: give one view an image."
        )
    by_name = {view.name: view for view in loaded.views}
    names = [radiograph.view for radiograph in radiographs]
    warnings = _of_another_side(loaded, what, side or next((r.side for r in radiographs if r.side), None))
    if all(name in by_name for name in names) and len(set(names)) == len(names):
        views = [by_name[name] for name in names if name is not None]
    else:
        # A view keeps the radiograph of its name; the others take what is left, in order.
        named = {name for name in names if name in by_name and names.count(name) == 1}
        others = iter(view for view in loaded.views if view.name not in named)
        views = [by_name[name] if name is not None and name in named else next(others) for name in names]
        pairs = ", ".join(
            f"{view.name}: {Path(r.source_path).name}" for view, r in zip(views, radiographs, strict=True)
        )
        warnings.append(f"The views of {what} were matched to the radiographs by their order ({pairs}).")
    fitted = []
    for view, radiograph in zip(views, radiographs, strict=True):
        fit, words = fit_view(view, radiograph, what)
        fitted.append(fit)
        warnings += words
    return Rig(tuple(fitted), loaded.field_of_view, loaded.provenance), warnings


def _of_another_side(rig: Rig, what: str, side: str | None) -> list[str]:
    """A warning where a rig says that it was made for the other knee: its lateral beam comes from the other side then."""
    made_for = rig.provenance.get("side")
    if side is None or made_for not in SIDES or made_for == side:
        return []
    return [
        f"This is a {side} knee, and {what} was made for a {made_for} one: where its lateral beam comes from the other side, sizes and "
        "depths are wrong, so make a rig for this knee."
    ]


def fit_view(view: View, radiograph: Radiograph, what: str = "the rig") -> tuple[View, list[str]]:
    """The view with the radiograph's number of pixels, when both cover the same detector area.

    Raises InputError when the image has another shape or physical size than the view: it was cropped or turned, or
    belongs to another rig. Returns the view and warnings.
    """
    path = radiograph.source_path
    warnings = []
    fitted = view
    if (radiograph.rows, radiograph.columns) != (view.rows, view.columns):
        ratio = (view.rows / radiograph.rows, view.columns / radiograph.columns)
        # Halving an odd number of pixels rounds; one pixel of leeway an axis.
        leeway = AGREEING / 2 + 1 / min(radiograph.rows, radiograph.columns)
        fitted = view.resampled(radiograph.rows, radiograph.columns)
        spacing = radiograph.detector_pixel_spacing
        same_area = spacing is None or all(
            abs(spacing[axis] / fitted.pixel_spacing[axis] - 1) <= AGREEING for axis in (0, 1)
        )
        if abs(ratio[0] / ratio[1] - 1) > leeway or not same_area:
            raise InputError(
                f"{path} has {radiograph.rows} x {radiograph.columns} pixels, and view '{view.name}' of {what} "
                f"{view.rows} x {view.columns}: give the whole, uncropped image that belongs to the rig."
            )
        warnings.append(
            f"{path} has {radiograph.rows} x {radiograph.columns} pixels where view '{view.name}' has {view.rows} x "
            f"{view.columns}: it is taken as the same detector area with pixels of {fitted.pixel_spacing[0]:g} x "
            f"{fitted.pixel_spacing[1]:g} mm."
        )
        return fitted, warnings
    spacing = radiograph.detector_pixel_spacing
    if spacing is not None and any(abs(spacing[a] / view.pixel_spacing[a] - 1) > AGREEING for a in (0, 1)):
        warnings.append(
            f"{path} states a pixel spacing of {spacing[0]:g} x {spacing[1]:g} mm, and view '{view.name}' of {what} "
            f"{view.pixel_spacing[0]:g} x {view.pixel_spacing[1]:g} mm: the rig is followed."
        )
    return fitted, warnings
