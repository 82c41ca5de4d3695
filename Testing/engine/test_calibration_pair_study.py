"""The study behind the stated uncertainty of a relative pose: it recovers a known factor, counts what holds, and its figures are in use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.geometry import preset
from SSRKDCore.geometry.calibration.pair_study import fitted_factor, summary
from SSRKDCore.geometry.calibration.pair_study_page import page
from SSRKDCore.geometry.calibration.pair_trials import KINDS, told_wrongly
from SSRKDCore.geometry.calibration.pose_estimate import WIDENING, pose_covariance, with_slices
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES, pose_between
from SSRKDCore.geometry.view import View

PRIOR = np.array([3.0] * 3 + [8.0] * 3 + [1.0] * 4)


def axes_of(view: View) -> np.ndarray:
    return np.stack([view.normal, view.column_direction, view.row_direction])


def drawn(factor: float, count: int, seed: int = 0, slices_sd: np.ndarray | None = None) -> list[dict[str, np.ndarray]]:
    """Trials whose errors are `factor` times what their information says, as far as the prior lets them."""
    generator = np.random.default_rng(seed)
    trials = []
    for _ in range(count):
        rows = generator.normal(size=(14, 10)) * np.array([2.0, 1.5, 1.0, 0.02, 0.02, 3.0, 1.0, 1.0, 1.0, 1.0])
        information = rows.T @ rows
        covariance = pose_covariance(information, PRIOR, factor)
        slices = np.diag(slices_sd**-2.0) if slices_sd is not None else np.zeros((6, 6))
        trials.append(
            {
                "before": generator.normal(0.0, PRIOR[:6]),
                "outline_error": generator.multivariate_normal(np.zeros(6), covariance),
                "error": generator.multivariate_normal(np.zeros(6), with_slices(covariance, slices)),
                "slices": slices,
                "information": information,
                "parameter_sd": PRIOR,
                "spread": np.zeros(6),
            }
        )
    return trials


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_view_is_told_wrongly_by_the_pose(side: str) -> None:
    rig, pose = preset("room", side), np.array([2.0, -1.5, 1.5, 3.0, -3.0, 6.0])
    wrong = told_wrongly(rig, pose)
    assert wrong.views[0] == rig.views[0]
    found = pose_between(wrong.views[1], rig.views[1], axes_of(rig.views[1]), np.array(rig.field_of_view.center))
    np.testing.assert_allclose(found, pose, atol=1e-9)


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_the_factor_by_which_errors_are_understated_is_found(factor: float) -> None:
    trials = drawn(factor, 60)
    assert fitted_factor(trials) == pytest.approx(factor, rel=0.2)
    with pytest.raises(InputError, match="use more cases"):
        fitted_factor(trials[:2])


def test_what_holds_is_counted() -> None:
    trials = drawn(2.0, 200)
    right, sure = summary(trials, 2.0), summary(trials, 1.0)
    # Two standard deviations of a normal distribution hold 95.4 %.
    assert right["held_share"] == pytest.approx(0.954, abs=0.02)
    assert sure["held_share"] < right["held_share"] - 0.05
    assert all(row["held"] <= 200 and row["after_rms"] > 0 for row in right["directions"].values())
    assert right["accepted"] == 200 and right["largest_height_error_mm"] < 3.0
    lost = [{"before": np.zeros(6), "refused": "no edges"}, {"before": np.zeros(6), "other_bones": np.array(True)}]
    refused = summary([*trials, *lost], 2.0)
    assert refused["trials"] == 202 and refused["refused"] == refused["other_bones"] == 1
    assert refused["directions"] == right["directions"]
    effects = [{**trial, "effect": np.array([[9.0, 3.0], [8.0, 1.0], [0.6, 0.5]])} for trial in trials[:4]]
    measured = summary(effects, 2.0)["mean_exact_assd_mm"]
    assert measured["knees"] == measured["better_than_believed_as_a_knee"] == 4
    assert measured["as_estimated"] == {"in_place": 8.0, "as_a_knee": 1.0}


def test_what_slices_add_counts_where_they_were_asked() -> None:
    """They make what is stated narrower, it holds all the same, and the factor stays that of the outlines."""
    slices_sd = np.array([0.8, 0.5, 1e3, 1e3, 1e3, 0.3])
    plain, told = drawn(2.0, 200), drawn(2.0, 200, slices_sd=slices_sd)
    assert fitted_factor(told) == fitted_factor(plain)
    without, with_them = summary(plain, 2.0), summary(told, 2.0)
    assert without["with_slices"] == 0 and with_them["with_slices"] == 200
    assert with_them["held_share"] == pytest.approx(0.954, abs=0.02)
    height, angle = (
        [found["directions"][name] for found in (without, with_them)]
        for name in ("shift_along_rows_mm", "turn_about_rows_degrees")
    )
    assert height[1]["stated_95_mean"] < 0.8 * height[0]["stated_95_mean"]
    assert height[1]["after_rms"] < 0.8 * height[1]["by_outlines_rms"]
    # Of the angle they tell what it shares with the others.
    assert 0.9 * angle[0]["stated_95_mean"] < angle[1]["stated_95_mean"] <= angle[0]["stated_95_mean"]


def test_the_page_has_every_set(tmp_path: Path) -> None:
    trials = {name: drawn(2.0, 5, seed) for seed, name in enumerate(("fit", "check"))}
    report = {
        "command": "the command",
        "belief": {"turn_sd_degrees": 3.0, "shift_sd_mm": 8.0},
        "height_limit_mm": 3.0,
        "cases": {"fit": [f"room/case{i}" for i in range(9)], "check": [f"room/case{i}" for i in range(9, 15)]},
        "widening": {"known": 2.0, "reconstructed": 2.5, "shape_model": 1.5},
        "fitted_widening": {
            "known": {"fit": 1.25},
            "reconstructed": {"fit": 2.5},
            "shape_model": {"fit": 1.0, "people": 1.5},
        },
        "results": {kind: {name: summary(found, 2.0) for name, found in trials.items()} for kind in KINDS},
    }
    of_shape_model = report["results"]["shape_model"]
    of_shape_model["check"] = summary([*trials["check"], {"before": np.zeros(6), "other_bones": np.array(True)}], 2.0)
    text = page(report)
    assert "room/case0 to case4" in text and "room/case9 to case13" in text and "times 2.5" in text
    assert "times 2: the knees that fitted the factor ask for 1.25; what is in use is only ever raised" in text
    assert "ask for 1, people left out of the shape model ask for 1.5; what" in text
    assert (
        text.count("left to the network's bones, since the shape model does not fit: 1;") == 1 and "6 of 6" not in text
    )
    assert all(name.replace("_", " ") in text for name in POSE_NAMES)


def test_the_factors_in_use_are_those_that_were_measured(repository: Path) -> None:
    path = repository / "docs" / "measured" / "calibration" / "pair.json"
    assert json.loads(path.read_text(encoding="utf-8"))["widening"] == WIDENING


def test_the_figures_in_the_documentation_are_those_that_were_measured(repository: Path) -> None:
    measured = json.loads((repository / "docs" / "measured" / "calibration" / "pair.json").read_text(encoding="utf-8"))
    found = measured["results"]["shape_model"]
    text = (repository / "docs" / "calibration.md").read_text(encoding="utf-8")
    shown = {"turn_about_beam_degrees", "turn_about_columns_degrees", "turn_about_rows_degrees", "shift_along_rows_mm"}
    names = {
        "people": "people left out of the shape model",
        "check": "simulated, no part in it",
        "other": "unseen legs, no part in it",
        "usual rooms": "usual rooms, no part in it",
    }
    for group, words in names.items():
        row = found[group]
        errors = " | ".join(f"{row['directions'][name]['after_rms']:.2f}" for name in POSE_NAMES if name in shown)
        line = f"| {words} | {row['trials']} | {row['refused']} | {errors} | {100 * row['held_share']:.0f} % |"
        assert line in text, line
    assert f"| bad rooms, no part in it | {found['bad rooms']['trials']} | {found['bad rooms']['refused']} |" in text
    effect = found["check"]["mean_exact_assd_mm"]
    estimated, wrong, true = (effect[name]["as_a_knee"] for name in ("as_estimated", "as_believed", "true_rig"))
    assert (
        f"are {estimated:.2f} mm wrong" in text
        and f"wrong rig {wrong:.2f}, with the true one {true:.2f}" in " ".join(text.split())
    )
