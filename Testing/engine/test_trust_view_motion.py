"""What is said of a second view that is turned against its rig: how well it is known, and what light that gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trust_scenes import usual_measures, usual_reference

from SSRKDCore.errors import InputError
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.resource_files import sample_case_folder
from SSRKDCore.trust import flags as flags_module
from SSRKDCore.trust.fit_view_motion import fitted, shown
from SSRKDCore.trust.flags import flags_of, light_of
from SSRKDCore.trust.known_view_motion import (
    FILE_NAME,
    KnownViewMotion,
    bundled_known_view_motion,
    read_known_view_motion,
    save_known_view_motion,
)
from SSRKDCore.trust.measure import jobs
from SSRKDCore.trust.view_motion_trials import errors_of
from SSRKDCore.trust.view_scales import ScaleDisagreement

#: Three spreads each.
_KNOWN = KnownViewMotion(np.array([[0.0, 3.0]]), np.array([[0.0, 3.0]]))


@pytest.fixture(autouse=True)
def _three_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags_module, "bundled_known_view_motion", lambda: _KNOWN)


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (None, {}),
        (ViewMotion(0.0, 0.0, 2.0, 0.8), {}),
        (ViewMotion(5.9, 2.4, 2.0, 0.8), {}),
        (ViewMotion(6.1, 0.0, 2.0, 0.8), {"view_angle": "amber"}),
        (ViewMotion(-9.9, 0.0, 2.0, 0.8), {"view_angle": "amber"}),
        (ViewMotion(-10.1, 0.0, 2.0, 0.8), {"view_angle": "red"}),
        (ViewMotion(5.1, 0.0, 0.5, 0.8), {"view_angle": "amber"}),
        (ViewMotion(14.9, 0.0, 5.0, 0.8), {}),
        (ViewMotion(0.0, -2.6, 2.0, 0.8), {"view_roll": "amber"}),
        (ViewMotion(0.0, 5.1, 2.0, 0.8), {"view_roll": "red"}),
        (ViewMotion(0.0, 5.9, 2.0, 2.0), {}),
        (ViewMotion(11.0, 6.0, 2.0, 0.8), {"view_angle": "red", "view_roll": "red"}),
    ],
)
def test_a_turn_is_flagged_beyond_what_is_known_and_beyond_what_matters(
    motion: ViewMotion | None, expected: dict[str, str]
) -> None:
    found = flags_of(usual_measures(motion=motion), usual_reference())
    assert {flag.name: flag.light for flag in found} == expected
    assert light_of(found) == max(expected.values(), key=("green", "amber", "red").index, default="green")


def test_the_sentence_says_which_way() -> None:
    apart, together = (
        flags_of(usual_measures(motion=ViewMotion(value, 0.0, 2.0, 0.8)), None)[0].sentence for value in (12.0, -12.0)
    )
    assert "beams 12 degrees further apart than the rig says (known to about 6 degrees)" in apart
    assert "12 degrees closer together than" in together


def test_a_knee_that_bent_is_named_beside_what_looks_the_same() -> None:
    scale = ScaleDisagreement(-4.4, 0.0, 1.8, 0.4)
    found = flags_of(usual_measures(motion=ViewMotion(0.0, 6.0, 2.0, 0.8), scale=scale), usual_reference())
    assert {flag.name for flag in found} == {"magnification", "view_roll"}
    assert all("or the knee was bent further between the exposures" in flag.sentence for flag in found)


def test_what_is_known_survives_its_file(tmp_path: Path) -> None:
    known = KnownViewMotion(np.array([[0.0, 2.5], [3.0, 4.0]]), np.array([[0.0, 3.0]]))
    save_known_view_motion(tmp_path / "new", known, {"commit": "abc"})
    again = read_known_view_motion(tmp_path / "new")
    np.testing.assert_array_equal(again.angle_factors, known.angle_factors)
    assert again.angle_degrees(2.0) == pytest.approx(5.0) and again.angle_degrees(3.0) == pytest.approx(12.0)
    assert again.roll_degrees(1.5) == pytest.approx(4.5)
    assert json.loads((tmp_path / "new" / FILE_NAME).read_text())["commit"] == "abc"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist|cannot be read|is missing|not found"),
        ('{"schema": "something else"}', "does not say how well"),
        ('{"schema": "ssrkd-view-motion/1", "angle_factors": [[0, 3]]}', "damaged"),
        ('{"schema": "ssrkd-view-motion/1", "angle_factors": [[1, 3]], "roll_factors": [[0, 3]]}', "damaged"),
        ('{"schema": "ssrkd-view-motion/1", "angle_factors": [[0, -3]], "roll_factors": [[0, 3]]}', "damaged"),
        ('{"schema": "ssrkd-view-motion/1", "angle_factors": "no", "roll_factors": [[0, 3]]}', "damaged"),
        ('{"schema": "ssrkd-view-motion/1", "angle_factors": [[0, 3], [0, 4]], "roll_factors": [[0, 3]]}', "damaged"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(InputError, match=words):
        read_known_view_motion(tmp_path)


def test_the_package_brings_what_it_knows() -> None:
    known = bundled_known_view_motion()
    # A least-squares problem understates its errors.
    assert (known.angle_factors[:, 1] > 1.5).all() and (known.roll_factors[:, 1] > 1.5).all()


def _trials(kind: str, count: int, scale: float) -> list[dict[str, Any]]:
    generator = np.random.default_rng(3)
    stated, errors = generator.normal(0, 5, (count, 2)), scale * generator.normal(0, 1, (count, 2))
    return [
        {"kind": kind, "stated": told.tolist(), "found": (error - told).tolist(), "spread": [1.0, 0.5]}
        for told, error in zip(stated, errors, strict=True)
    ]


def test_people_only_ever_raise_what_a_population_leaves_open() -> None:
    population, alike, worse = _trials("plain", 400, 1.0), _trials("people", 20, 0.5), _trials("people", 20, 4.0)
    alone = fitted(population, [])
    # 99 % of a normal distribution's values lie within 2.6 deviations.
    assert alone.angle_degrees(1.0) == pytest.approx(2.6, abs=0.5)
    assert alone.roll_degrees(0.5) == pytest.approx(2.6, abs=0.5)
    assert fitted(population, alike).angle_degrees(1.0) == alone.angle_degrees(1.0)
    _, errors = errors_of(worse, 0)
    assert fitted(population, worse).angle_degrees(1.0) == pytest.approx(np.abs(errors).max())
    with pytest.raises(InputError, match="too few"):
        fitted(population[:100], alike)


def test_a_trial_without_an_answer_is_counted_and_no_error() -> None:
    records = [*_trials("plain", 10, 1.0), {"kind": "plain", "stated": [1.0, 2.0], "found": None, "spread": None}]
    row = shown(records, _KNOWN)["plain"]
    assert (row["trials"], row["told"]) == (11, 10)
    assert row["angle"]["known_to_degrees"] == 3.0 and row["roll"]["known_to_degrees"] == 1.5
    within = int((np.abs(errors_of(records, 1)[1]) <= 1.5).sum())
    assert row["roll"]["within_what_is_known"] == within < 10


def test_turned_views_are_among_what_trust_is_measured_on() -> None:
    sample = sample_case_folder()
    assert not [job for job in jobs([sample], None, 0, 0) if "turned" in job]
    found = [job for job in jobs([sample], None, 0, 1) if "turned" in job]
    assert [job["turned"] for job in found] == [[-10.0, 0.0], [10.0, 0.0], [0.0, -5.0], [0.0, 5.0]]
    assert all("degrees" in job["kind"] for job in found)
