"""How alignment, slope, torsion and patellar height are measured on landmarks, each with its source.

Sources
-------
Paley 2002: Paley D. Principles of Deformity Correction. Springer.
Fujisawa 1979: Fujisawa Y, Masuhara K, Shiomi S. Orthop Clin North Am 10(3).
Grood and Suntay 1983: J Biomech Eng 105(2).
Dejour and Bonnin 1994: J Bone Joint Surg Br 76(5).
Hashemi 2008: Hashemi J, Chandrashekar N, Gill B et al. J Bone Joint Surg Am 90(12).
Cobb 2008: Cobb JP, Dixon H, Dandachli W, Iranpour F. J Bone Joint Surg Br 90(8).
Waidelich 1992: Waidelich HA, Strecker W, Schneider E. Fortschr Roentgenstr 157(3).
Insall and Salvati 1971: Radiology 101(1).
Caton and Deschamps 1982: Caton J, Deschamps G, Chambat P et al. Rev Chir Orthop 68(5).

Planes: "the femur's frontal plane" holds the femur's long axis and the line along its posterior condyles; "the tibia's frontal plane"
holds the tibia's long axis and the line through the centres of its plateaus; sagittal planes stand across these lines. They turn with
the bones and are not the plane of any image. See `anatomical_frames`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.planning.anatomical_frames import Frame, femoral_frame, tibial_frame
from SSRKDCore.planning.landmark_set import LandmarkSet

Array = NDArray[np.float64]

_HIP_AXIS = ("hip_centre", "intercondylar_notch")
_ANKLE_AXIS = ("ankle_centre",)
_FEMORAL_SHAFT = ("femoral_shaft_distal", "femoral_shaft_proximal")
_TIBIAL_SHAFT = ("tibial_shaft_proximal", "tibial_shaft_distal")
_POSTERIOR_CONDYLES = ("medial_condyle_posterior", "lateral_condyle_posterior")
_DISTAL_CONDYLES = ("medial_condyle_distal", "lateral_condyle_distal")
_FEMORAL_LINE = ("intercondylar_notch", *_FEMORAL_SHAFT, *_POSTERIOR_CONDYLES, *_DISTAL_CONDYLES)
_PLATEAU = ("medial_plateau_centre", "lateral_plateau_centre")
_EDGES = ("medial_plateau_edge", "lateral_plateau_edge")


@dataclass(frozen=True)
class Definition:
    """One measurement.

    Attributes
    ----------
    name: short name.
    unit: "deg", "mm", "%" or "ratio".
    words: what is measured, in which plane, and what its sign means.
    source: whose definition it is.
    needs: the landmarks it is computed from.
    compute: the value, from a set that holds all of these.
    as_imaged: whether it changes with load and the position of the joint; radiographs standing read differently.
    """

    name: str
    unit: str
    words: str
    source: str
    needs: tuple[str, ...]
    compute: Callable[[LandmarkSet], float]
    as_imaged: bool = False


def _degrees(radians: ArrayLike) -> float:
    return float(np.rad2deg(radians))


def _frontal_rise(frame: Frame, medial: Array, lateral: Array) -> float:
    """How far the line from medial to lateral rises towards lateral in the frame's frontal plane, degrees."""
    x, _, z = (lateral - medial) @ frame.axes
    return _degrees(np.arctan2(z, x))


def _joint_angle(frame: Frame, landmarks: LandmarkSet, names: tuple[str, str]) -> float:
    """Angle of a joint line against the long axis: on the lateral side for the femur, on the medial side for the tibia."""
    return 90.0 - _frontal_rise(frame, landmarks[names[0]], landmarks[names[1]])


def _femorotibial(landmarks: LandmarkSet, axis: str) -> float:
    femur, tibia = femoral_frame(landmarks, axis), tibial_frame(landmarks, axis)
    return 180.0 - _degrees(np.arcsin(np.clip(tibia.proximal @ femur.lateral, -1.0, 1.0)))


def _weight_bearing_line(landmarks: LandmarkSet) -> tuple[Frame, Array, Array]:
    """The tibia's frame; hip and ankle centre in its frontal plane as (lateral, proximal) mm."""
    frame = tibial_frame(landmarks, "mechanical")
    hip, ankle = frame.local(landmarks["hip_centre"]), frame.local(landmarks["ankle_centre"])
    return frame, hip[[0, 2]], ankle[[0, 2]]


def _axis_deviation(landmarks: LandmarkSet) -> float:
    _, hip, ankle = _weight_bearing_line(landmarks)
    along = (hip - ankle) / np.linalg.norm(hip - ankle)
    # The origin of the frame is the knee's centre; positive where the line passes on its medial side (-x).
    return float(-(ankle[0] * along[1] - ankle[1] * along[0]))


def _fujisawa(landmarks: LandmarkSet) -> float:
    frame, hip, ankle = _weight_bearing_line(landmarks)
    medial, lateral = (frame.local(landmarks[name])[[0, 2]] for name in _EDGES)
    steps = np.linalg.solve(np.column_stack([lateral - medial, ankle - hip]), ankle - medial)
    return float(100.0 * steps[0])


def _closing_angle(landmarks: LandmarkSet) -> float:
    frame = tibial_frame(landmarks, "anatomical")
    medial, lateral = (landmarks[name] for name in _DISTAL_CONDYLES)
    # How far to the front a condyle is lowest is no part of the joint line, and in a bent knee it would be read as height.
    anterior = femoral_frame(landmarks, "anatomical").anterior
    lateral = lateral - ((lateral - medial) @ anterior) * anterior
    return _frontal_rise(frame, medial, lateral) - _frontal_rise(frame, *(landmarks[name] for name in _PLATEAU))


def _slope(landmarks: LandmarkSet, side: str) -> float:
    frame = tibial_frame(landmarks, "anatomical")
    _, y, z = (landmarks[f"{side}_plateau_posterior"] - landmarks[f"{side}_plateau_anterior"]) @ frame.axes
    return _degrees(np.arctan2(-z, -y))


def _torsion(landmarks: LandmarkSet) -> float:
    frame = tibial_frame(landmarks, "mechanical")
    x, y, _ = (landmarks["fibula_at_plafond"] - landmarks["ankle_centre"]) @ frame.axes
    return _degrees(np.arctan2(-y, x))


def _flexion(landmarks: LandmarkSet) -> float:
    femur, tibia = femoral_frame(landmarks, "anatomical"), tibial_frame(landmarks, "anatomical")
    return _degrees(np.arctan2(tibia.proximal @ femur.anterior, tibia.proximal @ femur.proximal))


def _distance(landmarks: LandmarkSet, first: str, second: str) -> float:
    return float(np.linalg.norm(landmarks[first] - landmarks[second]))


def _insall_salvati(landmarks: LandmarkSet) -> float:
    tendon = _distance(landmarks, "patella_inferior_pole", "tibial_tubercle")
    return tendon / _distance(landmarks, "patella_inferior_pole", "patella_superior_pole")


def _caton_deschamps(landmarks: LandmarkSet) -> float:
    corner = 0.5 * (landmarks["medial_plateau_anterior"] + landmarks["lateral_plateau_anterior"])
    height = float(np.linalg.norm(landmarks["patella_articular_inferior"] - corner))
    return height / _distance(landmarks, "patella_articular_inferior", "patella_articular_superior")


DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        "HKA",
        "deg",
        "hip-knee-ankle angle: between the mechanical axes of femur and tibia, across the femur's posterior condyles, so that flexion "
        "of the knee does not change it; 180 straight, below varus, above valgus",
        "Paley 2002; projection: Grood and Suntay 1983",
        _HIP_AXIS + _POSTERIOR_CONDYLES + _PLATEAU + _ANKLE_AXIS,
        lambda landmarks: _femorotibial(landmarks, "mechanical"),
        True,
    ),
    Definition(
        "MAD",
        "mm",
        "mechanical axis deviation: distance of the line from hip to ankle centre from the middle of the plateau, in the tibia's "
        "frontal plane; positive where the line passes medially (varus)",
        "Paley 2002",
        ("hip_centre", *_PLATEAU, *_ANKLE_AXIS),
        _axis_deviation,
        True,
    ),
    Definition(
        "Fujisawa",
        "%",
        "where the line from hip to ankle crosses the plateau in the tibia's frontal plane: 0 at its medial, 100 at its lateral edge",
        "Fujisawa 1979",
        ("hip_centre", *_PLATEAU, *_EDGES, *_ANKLE_AXIS),
        _fujisawa,
        True,
    ),
    Definition(
        "mLDFA",
        "deg",
        "mechanical lateral distal femoral angle: between the femur's mechanical axis and the line that touches both condyles distally, "
        "on the lateral side, in the femur's frontal plane; above 90 varus",
        "Paley 2002",
        _HIP_AXIS + _POSTERIOR_CONDYLES + _DISTAL_CONDYLES,
        lambda landmarks: _joint_angle(femoral_frame(landmarks, "mechanical"), landmarks, _DISTAL_CONDYLES),
    ),
    Definition(
        "aLDFA",
        "deg",
        "anatomical lateral distal femoral angle: as mLDFA, against the axis of the distal shaft (0.9 to 1.45 condylar widths over "
        "the joint); some 6 degrees less than mLDFA, and no substitute for it",
        "Paley 2002, on the stretch of shaft that a knee's field of view shows",
        _FEMORAL_LINE,
        lambda landmarks: _joint_angle(femoral_frame(landmarks, "anatomical"), landmarks, _DISTAL_CONDYLES),
    ),
    Definition(
        "MPTA",
        "deg",
        "medial proximal tibial angle: between the tibia's mechanical axis and the line through the centres of both plateaus, on the "
        "medial side, in the tibia's frontal plane; below 90 varus",
        "Paley 2002",
        _PLATEAU + _ANKLE_AXIS,
        lambda landmarks: _joint_angle(tibial_frame(landmarks, "mechanical"), landmarks, _PLATEAU),
    ),
    Definition(
        "aMPTA",
        "deg",
        "anatomical medial proximal tibial angle: as MPTA, against the axis of the proximal shaft (0.9 to 1.45 plateau widths below the "
        "joint)",
        "Paley 2002, on the stretch of shaft that a knee's field of view shows",
        _PLATEAU + _TIBIAL_SHAFT,
        lambda landmarks: _joint_angle(tibial_frame(landmarks, "anatomical"), landmarks, _PLATEAU),
    ),
    Definition(
        "aFTA",
        "deg",
        "anatomical femorotibial angle: as HKA, between the shafts next to the knee; 180 straight, below varus, above valgus",
        "Paley 2002; projection: Grood and Suntay 1983",
        ("intercondylar_notch", *_FEMORAL_SHAFT, *_POSTERIOR_CONDYLES, *_PLATEAU, *_TIBIAL_SHAFT),
        lambda landmarks: _femorotibial(landmarks, "anatomical"),
        True,
    ),
    Definition(
        "JLCA",
        "deg",
        "joint line convergence angle: between the line of aLDFA (touches both condyles, in the femur's frontal plane) and the line "
        "through the centres of both plateaus, in the tibia's frontal plane (shafts next to the knee); positive where the joint opens "
        "laterally (varus)",
        "Paley 2002",
        _FEMORAL_LINE + _PLATEAU + _TIBIAL_SHAFT,
        _closing_angle,
        True,
    ),
    *(
        Definition(
            f"slope_{side}",
            "deg",
            f"posterior slope of the {side} plateau: from anterior to posterior rim through its centre in the sagittal plane, against "
            "the perpendicular of the proximal shaft's axis; positive where the plateau falls backwards",
            "rims: Hashemi 2008; axis: Dejour and Bonnin 1994",
            _PLATEAU + _TIBIAL_SHAFT + (f"{side}_plateau_anterior", f"{side}_plateau_posterior"),
            partial(_slope, side=side),
        )
        for side in ("medial", "lateral")
    ),
    Definition(
        "tibial_torsion",
        "deg",
        "from the line through the centres of both plateaus to the line from the middle of the plafond to the middle of the fibula's "
        "section at its height, about the tibia's mechanical axis; positive outwards",
        "distal line: Waidelich 1992; proximal line: Cobb 2008",
        (*_PLATEAU, *_ANKLE_AXIS, "fibula_at_plafond"),
        _torsion,
    ),
    Definition(
        "Insall_Salvati",
        "ratio",
        "straight distance from the patella's inferior pole to the tubercle over the distance between its poles; meant for 20 to 70 "
        "degrees of flexion with a taut tendon",
        "Insall and Salvati 1971",
        ("patella_inferior_pole", "patella_superior_pole", "tibial_tubercle"),
        _insall_salvati,
        True,
    ),
    Definition(
        "Caton_Deschamps",
        "ratio",
        "distance from the lower end of the patella's joint surface to the anterior rim of the plateau (middle of both) over the length "
        "of that joint surface",
        "Caton and Deschamps 1982",
        (
            "patella_articular_inferior",
            "patella_articular_superior",
            "medial_plateau_anterior",
            "lateral_plateau_anterior",
        ),
        _caton_deschamps,
        True,
    ),
    Definition(
        "flexion",
        "deg",
        "flexion of the knee as imaged: between the shafts next to the knee about the femur's transverse axis; positive bent; the femur's "
        "bow lets a straight leg read some degrees of hyperextension",
        "Grood and Suntay 1983",
        ("intercondylar_notch", *_FEMORAL_SHAFT, *_POSTERIOR_CONDYLES, *_PLATEAU, *_TIBIAL_SHAFT),
        _flexion,
        True,
    ),
)
