"""Rigs: files, presets, checks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SSRKDCore.errors import InputError
from SSRKDCore.geometry import PRESET_NAMES, FieldOfView, Rig, preset


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_presets_survive_a_file(name: str, tmp_path: Path) -> None:
    rig = preset(name, "left")
    rig.save(tmp_path / "rig é.json")
    assert Rig.load(tmp_path / "rig é.json") == rig
    assert json.loads((tmp_path / "rig é.json").read_text())["frame"] == "LPS"


@pytest.mark.parametrize(
    ("name", "distance", "detector", "width"),
    [("paper", 1000, 2000, 294.4), ("room", 1000, 1150, 430), ("c_arm", 600, 1000, 300)],
)
def test_preset_distances(name: str, distance: float, detector: float, width: float) -> None:
    rig = preset(name)
    for view in rig.views:
        assert np.linalg.norm(view.source) == pytest.approx(distance)
        assert view.source_to_detector == pytest.approx(detector)
        assert view.columns * view.pixel_spacing[1] == pytest.approx(width)
        assert view.magnification([0, 0, 0]) == pytest.approx(detector / distance)
        assert rig.coverage(view) == 1.0
    assert rig.separation_degrees() == pytest.approx(90.0)
    assert rig.check() == []


def test_the_published_detector_sees_a_third_of_its_cube_and_says_so() -> None:
    warnings = preset("published").check()
    assert len(warnings) == 2 and all("sees only 31 %" in words for words in warnings)


def test_a_rig_of_three_views_at_any_angle(tmp_path: Path) -> None:
    rig = preset("room")
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 40, degrees=True).as_matrix()
    third = replace(rig.views[0].transformed(turn), name="oblique")
    three = Rig((*rig.views, third), rig.field_of_view)
    assert three.separation_degrees(0, 2) == pytest.approx(40.0)
    three.save(tmp_path / "rig.json")
    assert Rig.load(tmp_path / "rig.json").views[2].name == "oblique"
    with pytest.raises(InputError, match="only ap, lateral, oblique"):
        three.view("skyline")


def test_a_rig_of_one_view(tmp_path: Path) -> None:
    """Networks of one view are trained too (Figure 5b), so a rig may have one; the model says how many it reads."""
    rig = Rig(preset("room").views[:1], preset("room").field_of_view)
    assert rig.check() == []
    rig.save(tmp_path / "rig.json")
    assert Rig.load(tmp_path / "rig.json") == rig
    with pytest.raises(InputError, match="outside the detector"):
        Rig(rig.views, FieldOfView((0, 0, 900), 160)).check()


@pytest.mark.parametrize("degrees", [0.0, 10.0, 175.0, 180.0])
def test_parallel_views_are_refused(degrees: float) -> None:
    rig = preset("room")
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    with pytest.raises(InputError, match="nearly parallel"):
        Rig((rig.views[0], replace(rig.views[0].transformed(turn), name="other")), rig.field_of_view).check()


@pytest.mark.parametrize(
    ("cube", "words"),
    [
        (FieldOfView((0, 0, 900), 160), "outside the detector"),
        (FieldOfView((0, -1000, 0), 160), "inside or beyond"),
        (FieldOfView((0, 400, 0), 160), "behind the detector"),
        (FieldOfView((0, 0, 0), 5), "outside 20 to 1000 mm"),
        (FieldOfView((0, 0, 0), 5000), "outside 20 to 1000 mm"),
    ],
)
def test_unusable_fields_of_view_are_refused(cube: FieldOfView, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Rig(preset("room").views, cube).check()


def _broken(**changes: object) -> dict:
    return preset("room").to_dict() | changes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not valid JSON"),
        ("[1, 2]", "no JSON object"),
        ('{"schema": "ssrkd-rig/1"', "not valid JSON"),
        (json.dumps(_broken(schema="ssrkd-rig/9")), "only 'ssrkd-rig/1' is understood"),
        (json.dumps(_broken(frame="RAS")), "only 'LPS' is understood"),
        (json.dumps(_broken(unit="m")), "only 'mm' is understood"),
        (json.dumps({k: v for k, v in _broken().items() if k != "views"}), "lacks 'views'"),
        (json.dumps(_broken(views=[])), "at least one view"),
        (json.dumps(_broken(views=[_broken()["views"][0]] * 2)), "same name"),
        (json.dumps(_broken(views="ap")), "wrong kind"),
        (json.dumps(_broken(field_of_view={"center": [0, 0], "size": 100})), "wrong kind"),
        (json.dumps(_broken(field_of_view={"center": [0, 0, 0], "size": -1})), "positive size"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        Rig.load(path)
    assert "rig.json" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="a rig file"):
            Rig.load(path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["views", "field_of_view", "schema", "provenance"]), _JSON, st.data())
def test_any_value_anywhere_is_a_rig_or_an_input_error(key: str, value: object, data: st.DataObject) -> None:
    content = _broken()
    if data.draw(st.booleans()):
        content[key] = value
    else:
        content["views"][0][data.draw(st.sampled_from(sorted(content["views"][0])))] = value
    try:
        rig = Rig.from_dict(content)
    except InputError as error:
        assert str(error)
    else:
        assert rig.views and Rig.from_dict(rig.to_dict()) == rig


def test_unknown_presets_and_sides() -> None:
    with pytest.raises(InputError, match="paper, room, c_arm, published"):
        preset("hospital")
    with pytest.raises(InputError, match="right or left"):
        preset("room", "middle")
