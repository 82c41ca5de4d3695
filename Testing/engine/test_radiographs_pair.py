"""Two radiographs that do not belong together are refused, or the doubt is put in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import DicomGeometry, Radiograph, check_pair

RANDOM = np.random.default_rng(1)


def radiograph(name: str, position: str | None = None, **values: Any) -> Radiograph:
    geometry = DicomGeometry("DX", view_position=position) if position else None
    return Radiograph(RANDOM.random((32, 32)).astype(np.float32), source_path=name, geometry=geometry, **values)


def test_a_good_pair_has_no_warnings() -> None:
    ap = radiograph("ap.dcm", "AP", patient_id="P1", side="left")
    assert check_pair(ap, radiograph("lateral.dcm", "ML", patient_id="P1 ", side="left")) == []
    assert check_pair(ap, radiograph("lateral.png")) == []


def test_the_same_file_and_the_same_pixels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="given for both views"):
        check_pair(radiograph(str(tmp_path / "a")), radiograph(str(tmp_path / "link")))
    one = radiograph("one.dcm")
    with pytest.raises(InputError, match=r"one\.dcm and copy\.dcm hold the same image"):
        check_pair(one, Radiograph(one.pixels.copy(), source_path="copy.dcm"))


def test_patients_that_disagree() -> None:
    first, second = radiograph("a.dcm", patient_id="P1"), radiograph("b.dcm", patient_id="P2")
    with pytest.raises(InputError, match="different patients"):
        check_pair(first, second)
    assert "different patients" in check_pair(first, second, allow_different_patients=True)[0]


def test_sides_that_disagree() -> None:
    with pytest.raises(InputError, match=r"a\.dcm is a left knee and b\.dcm a right one"):
        check_pair(radiograph("a.dcm", side="left"), radiograph("b.dcm", side="right"))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("LL", "AP", "look swapped"),
        ("RL", "ML", "given as the AP view"),
        ("PA", "AP", "given as the lateral view"),
        ("latero-medial", "antero-posterior", "look swapped"),
    ],
)
def test_swapped_views_are_warned_about(first: str, second: str, words: str) -> None:
    warnings = check_pair(radiograph("a.dcm", first), radiograph("b.dcm", second))
    assert len(warnings) == 1 and words in warnings[0]


def test_oblique_views_are_neither() -> None:
    assert check_pair(radiograph("a.dcm", "LLO"), radiograph("b.dcm", "oblique lateral")) == []
