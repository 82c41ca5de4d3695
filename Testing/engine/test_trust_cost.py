"""What trust saves is work, not answers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from knee_model import knee_model, shadow_radiographs
from synthetic_knee import synthetic_knee
from trust_scenes import room, usual_reference
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkFiltersCore import vtkContourFilter

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.outline_distance import outline_samples
from SSRKDCore.geometry.presets import preset
from SSRKDCore.pictures.contour_generator import contour_lines
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.network_input import prepare_network_input
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.sampler import PointSampler, logits_of_each
from SSRKDCore.side_by_side import side_by_side
from SSRKDCore.trust.case_measures import Encoded, case_measures
from SSRKDCore.trust.error_model import ErrorModel, fit_error_model, noticeable
from SSRKDCore.trust.vertex_terms import TERM_NAMES, _moved
from SSRKDCore.vertex_normals import vertex_normals


def test_terms_that_are_asked_for_are_the_same_and_the_others_cost_nothing() -> None:
    rig = preset("room", "right", (2.0, 2.0), 215, 215)
    model, radiographs, kept = knee_model(rig), shadow_radiographs(rig), list[Encoded]()
    result = reconstruct(
        radiographs, rig, model, 64, "cpu", check_view_order=False,
        encoded=lambda given, maps: kept.append(Encoded(given, maps)),
        tabled=lambda tables: kept.append(kept[-1].with_tables(tables)),
    )  # fmt: skip
    assert kept[0].tables is None and kept[1].tables is not None
    needed = {"femur": {"geometry"}, "tibia": {"exposure", "level"}}
    measured = partial(case_measures, radiographs, rig, model, result, samples_a_bone=80)
    everything = measured(kept[0]).terms
    some = measured(kept[1], needed_terms=needed).terms
    for name, terms in everything.items():
        for column, term in enumerate(TERM_NAMES):
            if term in ("geometry", "exposure") and term not in needed.get(name, ()):
                assert terms[:, column].any() and not some[name][:, column].any()
            else:
                np.testing.assert_allclose(some[name][:, column], terms[:, column], rtol=1e-3, atol=1e-4)


def test_a_term_is_needed_where_it_can_move_the_expected_error() -> None:
    weights = np.array([0.2, 0.1, 0.0, 0.0049, 0.0051, 0.3, 0.02])
    reference = replace(usual_reference(), errors={"femur": ErrorModel(weights, 2.0)})
    assert reference.needed_terms == {"femur": {"level", "exposure", "outline", "rim"}}


def test_lines_are_those_of_contouring_all_triangles() -> None:
    femur, source = synthetic_knee(2.0)["femur"], np.array(room("right").view("lateral").source)
    rays = femur.vertices - source
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    polydata = femur.to_vtk()
    facing = np.einsum("ij,ij->i", rays, vertex_normals(femur.vertices, femur.faces))
    polydata.GetPointData().SetScalars(numpy_to_vtk(facing, deep=True))
    contour = vtkContourFilter()
    contour.SetInputData(polydata)
    contour.SetValue(0, 0.0)
    contour.Update()
    expected = vtk_to_numpy(contour.GetOutput().GetPoints().GetData()).astype(np.float64)
    found = np.unique(np.concatenate(contour_lines(femur, source)), axis=0)
    np.testing.assert_allclose(found, np.unique(expected, axis=0), atol=1e-6)


def test_outlines_are_the_same_side_by_side_and_with_normals_given() -> None:
    rig, knee = room("left"), synthetic_knee(2.0)
    generator = np.random.default_rng(0)
    images = {view.name: generator.random((view.rows, view.columns)).astype(np.float32) for view in rig.views}
    normals = {name: vertex_normals(surface.vertices, surface.faces) for name, surface in knee.items()}
    alone = outline_samples(knee, images, rig, rig.field_of_view)
    together = outline_samples(knee, images, rig, rig.field_of_view, normals=normals, threads=2)
    assert list(alone) == [view.name for view in rig.views] and any(alone.values())
    for view, bones in alone.items():
        for bone, samples in bones.items():
            assert np.array_equal(samples.points, together[view][bone].points)
            assert np.array_equal(samples.offsets, together[view][bone].offsets, equal_nan=True)


def test_radiographs_read_side_by_side_keep_their_order_and_their_errors(tmp_path: Path) -> None:
    images = [Radiograph(np.full((4, 4), float(value), dtype=np.float32)) for value in range(3)]
    found = side_by_side([partial(lambda image: image, image) for image in images])
    assert all(one is other for one, other in zip(found, images, strict=True))
    with pytest.raises(InputError, match="first"):
        side_by_side([partial(read_radiograph, tmp_path / name) for name in ("first.png", "second.png")])


def test_a_fit_leaves_out_what_cannot_be_noticed() -> None:
    generator = np.random.default_rng(5)
    terms = [generator.uniform(0.0, 3.0, (200, 6)) for _ in range(12)]
    errors = [0.3 + 0.5 * part[:, 4] + 0.002 * part[:, 3] for part in terms]
    model = fit_error_model(terms, errors, terms, errors)
    assert model.weights[5] == pytest.approx(0.5, abs=0.01)
    assert not model.weights[1:][~noticeable(model.weights)].any() and model.weights[4] == 0.0


def test_a_fit_leaves_out_what_costs_an_encoding_and_tells_little() -> None:
    generator = np.random.default_rng(6)
    terms = [generator.uniform(0.0, 3.0, (2000, len(TERM_NAMES))) for _ in range(12)]
    exposure, outline = TERM_NAMES.index("exposure"), TERM_NAMES.index("outline")
    noise = [generator.normal(0.0, 0.3, 2000) for _ in terms]

    def fitted(column: int, weight: float) -> np.ndarray:
        errors = [np.abs(1.0 + weight * part[:, column] + other) for part, other in zip(terms, noise, strict=True)]
        return fit_error_model(terms, errors, terms, errors).weights[1:]

    # Some tenth of a percent of the squared error, which is noticed, and most of it.
    assert fitted(outline, 0.02)[outline] == pytest.approx(0.02, abs=0.01)
    assert fitted(exposure, 0.02)[exposure] == 0.0
    assert fitted(exposure, 0.5)[exposure] == pytest.approx(0.5, abs=0.02)


def test_points_seen_from_several_views_together_are_answered_as_one_after_the_other() -> None:
    rig = preset("room", "right", (2.0, 2.0), 215, 215)
    model = knee_model(rig)
    given = prepare_network_input(shadow_radiographs(rig), rig, model)
    features = encode_images(model.network, given.images, torch.device("cpu"))
    box = rig.field_of_view
    first = PointSampler(model.network, features, given.views, box, block_points=7)
    generator = np.random.default_rng(2)
    moved = [[_moved(view, box, generator) for view in given.views] for _ in range(3)]
    samplers = [PointSampler(model.network, features, views, box, tables=first.tables) for views in moved]
    points = generator.normal(box.center, 20.0, (50, 3))
    found = logits_of_each([first, *samplers], points)
    for sampler, logits in zip([first, *samplers], found, strict=True):
        np.testing.assert_allclose(logits, sampler.logits(points), rtol=1e-5, atol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-2)
