"""Exchanged radiographs are noticed by the bundled model, right ones are left in peace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from SSRKDCore.cases import load_case
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.swapped_views import WARNING


@pytest.mark.parametrize("exchanged", [False, True])
def test_exchanged_views_are_told(repository: Path, exchanged: bool) -> None:
    case = load_case(repository / "Resources" / "SampleCase")
    radiographs = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    if exchanged:
        # The same pixels under the other name, as an image file without tags would be given.
        first, second = radiographs
        radiographs = [replace(second, view=first.view), replace(first, view=second.view)]
    warnings = reconstruct(radiographs, case.rig, load_model(), resolution=64).warnings
    assert (WARNING in warnings) == exchanged
