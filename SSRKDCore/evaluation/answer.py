"""What any method, ours or one that it is compared with, says of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.surface import Surface


@dataclass(frozen=True)
class CaseAnswer:
    """Reconstructed bones of one case.

    Attributes
    ----------
    surfaces: bone name -> closed surface, LPS mm; a bone that the method cannot give is absent, one that it did not find is empty.
    field_of_view: the cube that the method looked at; scores count inside it.
    spacing_mm: distance of neighbouring samples of what the surfaces were extracted from (0 for a mesh of its own): cut faces are found
        within this margin.
    warnings: what to know before trusting the surfaces.
    """

    surfaces: Mapping[str, Surface]
    field_of_view: FieldOfView
    spacing_mm: float = 0.0
    warnings: tuple[str, ...] = ()
