"""The shape model: its parts on made-up numbers, and the whole on an anatomy folder of simple bones."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from simple_bones import simple_bone, write_simple_anatomy

from SSRKDCore import cli
from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.commands import shape_model as command
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.population import shape_quality
from SSRKDCore.population.bone_sources import read_bone_sources, read_model_draws
from SSRKDCore.population.completion import completed
from SSRKDCore.population.gaussian_process import LowRankRegression, Scale, covariance, low_rank_basis
from SSRKDCore.population.joint_features import BoneSet, JointFeatures
from SSRKDCore.population.knee_correspondences import KneeCorrespondences, find_correspondences
from SSRKDCore.population.partial_pca import fit_partial_pca
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.shape_quality import quality_report

_GENERATOR_SEED = 3


def _low_rank_samples(count: int, size: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(_GENERATOR_SEED)
    modes = generator.normal(size=(rank, size)) * np.array([3.0, 1.5])[:rank, None]
    return generator.normal(size=(count, rank)) @ modes + 5.0, modes


def test_partial_pca_of_whole_samples_is_pca() -> None:
    values, _ = _low_rank_samples(60, 30, 2)
    found = fit_partial_pca(values, np.ones(values.shape, bool), np.ones(60), 2, prior=1e-6)
    centred = values - values.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False)[:2] ** 2 / 60
    np.testing.assert_allclose(found.mean, values.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(found.variances, variances, rtol=0.02)


def test_partial_pca_learns_a_block_from_the_samples_that_show_it() -> None:
    values, modes = _low_rank_samples(80, 30, 2)
    seen = np.ones(values.shape, bool)
    seen[:60, 20:] = False
    found = fit_partial_pca(np.where(seen, values, np.nan), seen, np.ones(80), 2, prior=0.1)
    expected, learnt = modes.T @ modes, found.modes.T @ found.modes
    # 80 samples of rank 2: the sampling error of a covariance is about sqrt(2 / 80) of it.
    assert np.linalg.norm(learnt - expected) < 0.3 * np.linalg.norm(expected)
    crossing = learnt[:20, 20:].ravel(), expected[:20, 20:].ravel()
    assert np.corrcoef(*crossing)[0, 1] > 0.98


def test_twins_of_half_weight_count_as_one() -> None:
    values, _ = _low_rank_samples(20, 12, 2)
    once = fit_partial_pca(values, np.ones(values.shape, bool), np.ones(20), 2)
    doubled = np.concatenate([values, values[:5]])
    weights = np.ones(25)
    weights[[*range(5), *range(20, 25)]] = 0.5
    twice = fit_partial_pca(doubled, np.ones(doubled.shape, bool), weights, 2)
    np.testing.assert_allclose(twice.mean, once.mean, atol=1e-2)
    np.testing.assert_allclose(twice.variances, once.variances, rtol=1e-2)


def test_what_nobody_shows_is_refused() -> None:
    seen = np.ones((4, 6), bool)
    seen[:, 2] = False
    with pytest.raises(ValueError, match="no sample"):
        fit_partial_pca(np.zeros((4, 6)), seen, np.ones(4), 1)


def test_a_low_rank_basis_has_the_covariance() -> None:
    points = np.random.default_rng(0).uniform(-30, 30, (200, 3))
    scales = (Scale(40.0, 2.0), Scale(15.0, 0.5))
    exact = covariance(points, points, scales)
    basis = low_rank_basis(points, scales, share=0.999)
    assert basis.shape[1] < 200
    assert np.trace(exact - basis @ basis.T) <= 0.001 * np.trace(exact) + 1e-9
    assert np.diag(exact) == pytest.approx(4.25)


def test_regression_finds_mode_and_process() -> None:
    generator = np.random.default_rng(1)
    points = generator.uniform(-50, 50, (300, 3))
    basis = low_rank_basis(points, (Scale(40.0, 1.0),), 0.99)
    modes = generator.normal(size=(1, 300, 3)) * 2.0
    field = generator.standard_normal((basis.shape[1], 3))
    share, coefficients = LowRankRegression(basis, modes, 0.05).solve(1.5 * modes[0] + basis @ field)
    assert share == pytest.approx([1.5], abs=0.02)
    np.testing.assert_allclose(basis @ coefficients, basis @ field, atol=0.15)


def test_regression_without_modes_or_without_a_process() -> None:
    """One whole bone has no modes; what it lacks comes from the process alone."""
    generator = np.random.default_rng(3)
    points = generator.uniform(-50, 50, (80, 3))
    basis = low_rank_basis(points, (Scale(40.0, 1.0),), 0.99)
    field = basis @ generator.standard_normal((basis.shape[1], 3))
    share, coefficients = LowRankRegression(basis, np.zeros((0, 80, 3)), 0.05).solve(field)
    assert share.shape == (0,)
    np.testing.assert_allclose(basis @ coefficients, field, atol=0.15)
    modes = generator.normal(size=(1, 80, 3))
    share, coefficients = LowRankRegression(np.zeros((80, 0)), modes, 0.05).solve(-0.7 * modes[0])
    assert share == pytest.approx([-0.7], abs=0.01) and coefficients.shape == (0, 3)


def test_a_completed_shaft_goes_on_without_a_step() -> None:
    z = np.linspace(0, 100, 101)
    reference = np.stack([np.zeros(101), np.zeros(101), z], axis=1)
    generator = np.random.default_rng(2)
    bows = generator.normal(size=12) * 4.0
    shapes = reference[None] + np.stack([bows[:, None] * (z / 100) ** 2, np.zeros((12, 101)), np.zeros((12, 101))], 2)
    seen = np.ones((12, 101), bool)
    seen[0, 60:] = False
    shown = np.where(seen[..., None], shapes, 0.0)
    whole = completed(shown, seen, np.ones(12), reference)
    np.testing.assert_array_equal(whole[1:], shapes[1:])
    np.testing.assert_array_equal(whole[0, :60], shapes[0, :60])
    np.testing.assert_allclose(whole[0], shapes[0], atol=0.6)
    assert np.abs(np.diff(whole[0, :, 0], 2)).max() < 0.1


@pytest.fixture(scope="session")
def anatomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anatomy")
    write_simple_anatomy(folder)
    return folder


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registrations")


@pytest.fixture(scope="session")
def found(anatomy: Path, work: Path) -> KneeCorrespondences:
    return find_correspondences(anatomy, work=work)


@pytest.fixture(scope="session")
def model(found: KneeCorrespondences) -> KneeShapeModel:
    return KneeShapeModel.of_correspondences(found)


def test_people_count_once_and_evaluation_items_never(anatomy: Path, found: KneeCorrespondences) -> None:
    weight = {name: found.weights[np.array(found.subjects) == name].sum() for name in set(found.subjects)}
    assert weight["ann"] == weight["bob"] == weight["cat"] == pytest.approx(1.0)
    # Six draws stand for the people behind their model, 14.
    assert weight["clouthier100"] == pytest.approx(14.0)
    assert "dan" not in weight
    assert [source.name for source in read_bone_sources(anatomy, ["ann"])] == ["bob_R", "cat_L"]


def test_unknown_people_are_not_silently_excluded(anatomy: Path) -> None:
    with pytest.raises(InputError, match="no subject anne to exclude: choose from ann"):
        read_bone_sources(anatomy, ["anne"])
    assert read_model_draws(anatomy, ["clouthier100"]) is None


def test_a_vector_gives_its_knee_back(found: KneeCorrespondences) -> None:
    features = JointFeatures(found.reference)
    knee = found.knees[found.names.index("ann_L")]
    vector, seen = features.encode(knee)
    assert seen.all()
    placed = features.placed(vector)
    frame = features.frame("femur", knee)
    for name in BONE_NAMES:
        there = (knee.vertices[name] - frame.translation) @ frame.rotation
        np.testing.assert_allclose(placed[name], there, atol=1e-6)


def test_a_short_scan_and_a_lone_femur_leave_values_open(found: KneeCorrespondences) -> None:
    features = JointFeatures(found.reference)
    _, seen = features.encode(found.knees[found.names.index("cat_L")])
    assert seen[features.slices["femur"]].all()
    assert seen[features.slices["sizes"]].tolist() == [True, False, False]
    assert not seen[features.slices["tibia"]].any()
    assert not seen[features.slices["tibia pose"]].any()
    _, seen = features.encode(found.knees[-1])
    assert not seen[features.slices["sizes"]].any()
    assert not seen[features.slices["patella pose"]].any()


def test_a_bone_of_no_shared_frame_has_no_pose(found: KneeCorrespondences) -> None:
    features = JointFeatures(found.reference)
    knee = found.knees[0]
    pairs = (frozenset({"femur", "patella"}), frozenset({"tibia", "fibula"}))
    _, seen = features.encode(BoneSet(knee.vertices, knee.seen, pairs))
    assert seen[features.slices["patella pose"]].all()
    assert not seen[features.slices["tibia pose"]].any()
    assert seen[features.slices["fibula"]].any()


def test_samples_are_closed_right_knees_of_the_same_faces(model: KneeShapeModel) -> None:
    for seed in range(3):
        for gaussian_process in (True, False):
            knee = model.sample(np.random.default_rng(seed), gaussian_process)
            assert tuple(knee) == BONE_NAMES
            for name, surface in knee.items():
                assert surface.is_closed()
                assert surface.volume > 0
                np.testing.assert_array_equal(surface.faces, model.templates[name].faces)
            assert knee["fibula"].bounds[1, 0] < -10.0
            assert knee["patella"].bounds[1, 1] < knee["tibia"].centroid[1]
            assert knee["femur"].bounds[1, 2] > 150.0
            assert max(knee[name].bounds[0, 2] for name in ("tibia", "fibula")) < -150.0
            # The medial condyle, at positive x, is the larger one, in left legs too.
            near = knee["femur"].vertices[knee["femur"].vertices[:, 2] < 40.0]
            assert near[:, 0].max() > -near[:, 0].min()


def test_the_same_seed_gives_the_same_knee(model: KneeShapeModel, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model.save(path)
    loaded = KneeShapeModel.load(path)
    assert loaded.card == model.card
    assert loaded.sha256() == model.sha256()
    for a, b in zip(*(m.sample(np.random.default_rng(8)).values() for m in (model, loaded)), strict=True):
        np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-3)
    other = loaded.sample(np.random.default_rng(9))["femur"].vertices
    assert np.abs(other - loaded.sample(np.random.default_rng(8))["femur"].vertices).max() > 0.1
    assert not list(tmp_path.glob(".*"))


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, model: KneeShapeModel) -> None:
    path = tmp_path / "model.npz"
    model.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        KneeShapeModel.load(path)
    np.savez(path, card=np.array(json.dumps({"schema": "ssrkd-shape-model/0"})))
    with pytest.raises(InputError, match="another version"):
        KneeShapeModel.load(path)
    np.savez(path, card=np.array([{"schema": "x"}], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        KneeShapeModel.load(path)
    with pytest.raises(InputError, match="does not exist"):
        KneeShapeModel.load(tmp_path / "absent.npz")


def test_a_large_femur_comes_with_a_large_tibia(model: KneeShapeModel) -> None:
    widths = []
    for seed in range(30):
        knee = model.sample(np.random.default_rng(seed), gaussian_process=False)
        widths.append([np.ptp(knee[name].vertices[:, 0]) for name in ("femur", "tibia")])
    assert np.corrcoef(np.transpose(widths))[0, 1] > 0.5


def test_the_model_shows_a_bone_that_it_has_not_seen(found: KneeCorrespondences) -> None:
    model = KneeShapeModel.of_correspondences(found.without("cat"))
    bone = simple_bone("femur", 0.97, -0.5)
    fits = {words: model.project({"femur": bone}, words)["femur"] for words in (True, False)}
    box = np.array([[-np.inf, -np.inf, -np.inf], [np.inf, np.inf, 140.0]])
    distances = {words: surface_distances(fit.fitted, fit.given, box).assd for words, fit in fits.items()}
    # Half a millimetre of bulge is asked of 1.4 mm that the model has seen between its people.
    assert distances[True] < 0.3
    assert distances[True] <= distances[False] + 0.02


def test_registrations_are_kept_and_found_again(anatomy: Path, work: Path, found: KneeCorrespondences) -> None:
    kept = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    again = find_correspondences(anatomy, ["cat"], work)
    assert {path.name: path.stat().st_mtime_ns for path in work.iterdir()} == kept
    assert "cat" not in again.subjects
    np.testing.assert_array_equal(again.knees[0].vertices["femur"], found.knees[0].vertices["femur"])


def test_the_report_holds_every_measure(anatomy: Path, found: KneeCorrespondences) -> None:
    report = quality_report(found, read_bone_sources(anatomy), samples=4)
    shares = report["compactness"]["cumulative_share"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert set(report["registration"]) == set(report["specificity"]) == set(BONE_NAMES)
    means = report["generalisation"]["means"]
    assert means["femur"]["modes"]["subjects"] == 2
    # Leaving out ann leaves nobody with a whole fibula: there is nothing to fit.
    assert {row["subject"] for row in report["generalisation"]["knees"]} == {"bob", "cat"}
    json.dumps(report, allow_nan=False)


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_writes_a_model_and_refuses_to_replace_it(anatomy: Path, work: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "model.npz"
    words = ("--data", str(anatomy), "--out", str(out), "--work", str(work), "--exclude", "cat")
    result = command.run(_arguments(*words))
    assert KneeShapeModel.load(out).sha256() == result["sha256"]
    assert result["excluded_subjects"] == ["cat"]
    assert "cat" not in result["people"]
    with pytest.raises(InputError, match="exists already"):
        command.run(_arguments(*words))
    with pytest.raises(InputError, match=r"end it with \.npz"):
        command.run(_arguments("--data", str(anatomy), "--out", str(tmp_path / "model.txt")))
    with pytest.raises(InputError, match="no subject"):
        command.run(_arguments("--data", str(anatomy), "--out", str(tmp_path / "b.npz"), "--exclude", "nobody"))


def test_an_interrupt_while_measuring_says_that_the_model_is_there(
    anatomy: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shape_quality, "quality_report", interrupted)
    out, report = tmp_path / "model.npz", tmp_path / "report.json"
    words = ["--data", str(anatomy), "--out", str(out), "--work", str(work), "--report", str(report)]
    assert cli.main(["shape-model", *words]) == 130
    assert out.is_file() and not report.exists()
    said = capsys.readouterr()
    assert f"{out} is written, and {report} is not" in said.out and "nothing was written" not in said.err


def test_templates_need_their_sources(anatomy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keep it"):
        find_correspondences(anatomy, ["clouthier100"])
    with pytest.raises(InputError, match="No whole fibula"):
        find_correspondences(anatomy, ["ann"])
    empty = tmp_path / "empty"
    shutil.copytree(anatomy, empty)
    (empty / "ssm_clouthier" / "clouthier100.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="missing or damaged"):
        find_correspondences(empty)
    (empty / "manifest.json").write_text(json.dumps({"items": [{"id": "x", "suggested_use": "train"}]}))
    with pytest.raises(InputError, match="lacks side"):
        find_correspondences(empty)
    (empty / "manifest.json").write_text(json.dumps({"items": []}))
    with pytest.raises(InputError, match="no bones to learn from"):
        find_correspondences(empty)
