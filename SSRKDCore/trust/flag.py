"""One thing that speaks against a reconstruction, and how a value becomes its light."""

from __future__ import annotations

from dataclasses import dataclass

LIGHTS = ("green", "amber", "red")
#: The flag that the magnifications were not checked against one another.
UNCHECKED_SCALE = "unchecked_scale"
#: Percent by which a scale may be wrong until the light is amber, red. 3 % make an 80 mm femur wrong by 2.4 mm; amber begins where the
#: measure is still sure.
SCALE_PERCENT = (2.0, 3.0)
#: Two views that disagree in height by more than this cannot both be right to the millimetre.
HEIGHT_MM = (1.5, 3.0)
#: Turns of a view that cost the fibula 2 and the femur 1 mm, and twice that.
ANGLE_DEGREES = (5.0, 10.0)
ROLL_DEGREES = (2.5, 5.0)

#: What else looks like views of different scale, or like an image that is turned in its plane, and what to do then: seen from the side, a
#: knee that is bent further is shorter, and its shin leans (docs/measured/bent_knees).
OR_BENT = (
    "or the knee was bent further between the exposures (then estimate the second view's position from the images, and believe each bone "
    "more than how the bones lie to one another)"
)


@dataclass(frozen=True)
class Flag:
    """name: one of `flags.FLAG_NAMES`. light: "amber" or "red". sentence: what is wrong, and what to do."""

    name: str
    light: str
    sentence: str


def above(value: float, limits: tuple[float, ...]) -> str | None:
    """The light of a value, None for green. What is not a number was not measured, and is never green: red."""
    return None if value <= limits[0] else "amber" if value <= limits[1] else "red"


def beyond(value: float, limits: tuple[float, float], known_to: float) -> str | None:
    """The light of a value of either sign that is known to so much: no limit lies nearer to zero than that."""
    return above(abs(value), (max(limits[0], known_to), max(limits[1], known_to)))


def unmeasured(name: str, light: str, what: str) -> Flag:
    """The flag of something that gave no number."""
    return Flag(
        name, light, f"{what} could not be measured: look at the bones over the radiographs before you use them."
    )
