"""Three or more views: each is checked against the others in scale, height and for turns, and the one that is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from knee_model import knee_model, shadow_radiographs
from scipy.spatial.transform import Rotation
from synthetic_knee import synthetic_knee
from trust_scenes import balls, room, shadow, usual_measures, usual_reference

from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.trust import several_views
from SSRKDCore.trust.assessment import assess, judged
from SSRKDCore.trust.case_measures import Encoded
from SSRKDCore.trust.flags import flags_of
from SSRKDCore.trust.known_view_motion import KnownViewMotion
from SSRKDCore.trust.several_views import PairScale, doubted_view, pairs_apart, several_scale_flags
from SSRKDCore.trust.view_scales import ScaleDisagreement, scale_disagreement

VIEWS = ("ap", "lateral", "oblique")
SURE = ScaleDisagreement(0.1, 0.1, 1.0, 0.5)
NAN = float("nan")


def with_oblique(rig: Rig, degrees: float = 45.0) -> Rig:
    """The rig with a third view: the first, turned about the leg."""
    center, turn = np.array(rig.field_of_view.center), np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0.0, 0.0, np.radians(degrees)]).as_matrix()
    turn[:3, 3] = center - turn[:3, :3] @ center
    return replace(rig, views=(*rig.views, replace(rig.views[0].transformed(turn), name="oblique")))


def scales(**found: ScaleDisagreement | None) -> tuple[PairScale, ...]:
    """By "ap_lateral" and so on."""
    return tuple(PairScale(*name.split("_"), value) for name, value in found.items())


def said(**changes: Any) -> dict[str, str]:
    """Sentences by flag."""
    flags = flags_of(usual_measures(views=VIEWS, **changes), usual_reference())
    return {flag.name: flag.sentence for flag in flags}


def lights(**changes: Any) -> dict[str, str]:
    flags = flags_of(usual_measures(views=VIEWS, **changes), usual_reference())
    return {flag.name: flag.light for flag in flags}


def test_the_one_that_every_disagreement_has_in_common_is_doubted_where_others_agree() -> None:
    def pairs(*words: str) -> set[frozenset[str]]:
        return {frozenset(word) for word in words}

    assert doubted_view("abc", pairs("ac", "bc"), pairs("ab")) == "c"
    # Only one pair is sure enough to disagree, and who agrees with whom tells.
    assert doubted_view("abc", pairs("ac"), pairs("ab")) == "c"
    # Both agree with the third, or nobody does.
    assert doubted_view("abc", pairs("ac"), pairs("ab", "bc")) is None
    assert doubted_view("abc", pairs("ac", "bc"), set()) is None
    assert doubted_view("abc", pairs("ab", "bc", "ac"), set()) is None
    assert doubted_view("abcd", pairs("ad", "bd", "cd"), pairs("ab", "bc")) == "d"
    assert doubted_view("abcd", pairs("ad", "bc"), pairs("ab")) is None
    assert doubted_view("ab", pairs("ab"), set()) is None
    assert doubted_view("abc", set(), pairs("ab")) is None


@pytest.mark.parametrize("wrong", VIEWS)
def test_the_view_with_the_wrong_scale_is_named(wrong: str) -> None:
    off = ScaleDisagreement(4.0, 0.2, 1.0, 0.5)
    found = {f"{a}_{b}": off if wrong in (a, b) else SURE for a, b in (VIEWS[:2], VIEWS[::2], VIEWS[1:])}
    sentences = said(pair_scales=scales(**found))
    assert set(sentences) == {"magnification"}
    assert sentences["magnification"].startswith(f"View '{wrong}' disagrees with view ")
    assert f"the magnification of view '{wrong}' is wrong" in sentences["magnification"]


def test_a_wrong_scale_that_the_widest_pair_does_not_have_is_seen() -> None:
    off = ScaleDisagreement(-4.0, 0.0, 1.0, 0.5)
    assert lights(pair_scales=scales(ap_lateral=SURE, ap_oblique=off, lateral_oblique=off)) == {"magnification": "red"}
    undecided = said(pair_scales=scales(ap_lateral=SURE, ap_oblique=off, lateral_oblique=SURE))
    assert undecided["magnification"].startswith("The views 'ap' and 'oblique' disagree in scale by 4.0 %")
    assert "the magnification of one is wrong" in undecided["magnification"]


def test_a_height_that_differs_is_told_with_the_view_that_is_doubted() -> None:
    off = ScaleDisagreement(0.0, 4.0, 1.0, 0.5)
    given = scales(ap_lateral=off, ap_oblique=SURE, lateral_oblique=off)
    assert lights(pair_scales=given) == {"view_height": "red"}
    assert said(pair_scales=given)["view_height"].endswith("view 'lateral' is the one to doubt.")


@pytest.mark.parametrize(
    ("given", "unchecked", "why"),
    [
        ({"ap_lateral": SURE, "ap_oblique": None, "lateral_oblique": None}, "'oblique'", "too little alike"),
        ({"ap_lateral": SURE}, "'oblique'", "nearly parallel"),
        (
            {"ap_lateral": SURE, "ap_oblique": ScaleDisagreement(0.5, 0.0, 6.0, 0.5), "lateral_oblique": None},
            "'oblique'",
            "allow for 6.5 %",
        ),
        ({"ap_lateral": None, "ap_oblique": None}, "'ap' and 'lateral' and 'oblique'", "too little alike"),
        (
            {"ap_lateral": SURE, "ap_oblique": SURE, "lateral_oblique": ScaleDisagreement(NAN, 0.0, 1.0, 0.5)},
            "'lateral' and 'oblique'",
            "could not be measured",
        ),
        # A chain of sure pairs is enough.
        ({"ap_lateral": SURE, "ap_oblique": None, "lateral_oblique": SURE}, "", ""),
        ({"ap_lateral": SURE, "ap_oblique": SURE, "lateral_oblique": SURE}, "", ""),
    ],
)
def test_each_view_has_to_be_checked_against_another(
    given: dict[str, ScaleDisagreement | None], unchecked: str, why: str
) -> None:
    sentences = said(pair_scales=scales(**given))
    assert set(sentences) == ({"unchecked_scale"} if unchecked else set())
    if unchecked:
        assert f"the scale of view {unchecked} is wrong by 3 %" in sentences["unchecked_scale"]
        assert why in sentences["unchecked_scale"] and "nan" not in sentences["unchecked_scale"]


def test_a_height_that_is_not_a_number_is_not_green() -> None:
    broken = ScaleDisagreement(0.0, NAN, 1.0, 0.5)
    assert lights(pair_scales=scales(ap_lateral=SURE, ap_oblique=broken, lateral_oblique=SURE)) == {
        "view_height": "amber"
    }


@pytest.fixture
def three_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownViewMotion(np.array([[0.0, 3.0]]), np.array([[0.0, 3.0]]))
    monkeypatch.setattr(several_views, "bundled_known_view_motion", lambda: known)


def motions(**turned: tuple[float, float]) -> dict[tuple[str, str], ViewMotion]:
    """(angle, roll) of the second, by "ap_lateral" and so on; the others not turned."""
    found = {f"{a}_{b}": (0.0, 0.0) for a in VIEWS for b in VIEWS if a != b} | turned
    return {tuple(name.split("_")): ViewMotion(*value, 1.0, 0.5) for name, value in found.items()}  # type: ignore[misc]


@pytest.mark.usefixtures("three_spreads")
def test_a_turned_view_is_told_and_named() -> None:
    assert said(pair_scales=scales(ap_lateral=SURE, ap_oblique=SURE), pair_motions=motions()) == {}
    off = motions(ap_oblique=(12.0, 0.0), oblique_ap=(11.0, 0.0), lateral_oblique=(-9.0, 0.0), oblique_lateral=(-9, 0))
    sentence = said(pair_scales=scales(ap_lateral=SURE, ap_oblique=SURE), pair_motions=off)["view_angle"]
    assert "beams of the views 'ap' and 'oblique' 12 degrees further apart" in sentence
    assert "view 'oblique' is the one to doubt" in sentence
    off = motions(ap_lateral=(0.0, 6.0), oblique_lateral=(0.0, 5.5))
    sentence = said(pair_scales=scales(ap_lateral=SURE, ap_oblique=SURE), pair_motions=off)["view_roll"]
    assert sentence.startswith("The image of view 'lateral' looks turned in its plane by 6 degrees")
    broken = motions(ap_lateral=(NAN, 0.0), lateral_ap=(NAN, 0.0), ap_oblique=(0.0, NAN))
    assert lights(pair_scales=scales(ap_lateral=SURE, ap_oblique=SURE), pair_motions=broken) == {
        "view_angle": "amber",
        "view_roll": "amber",
    }


def test_two_views_are_judged_as_they_were() -> None:
    measures = usual_measures(scale=ScaleDisagreement(3.4, 0.0, 1.0, 0.5), motion=ViewMotion(0.0, 0.0, 1.0, 1.0))
    named = replace(measures, views=VIEWS[:2], pair_scales=scales(ap_lateral=SURE))
    found = [judged(given, usual_reference(), None, synthetic_knee(4.0)).to_dict() for given in (measures, named)]
    assert found[0] == found[1] and found[0]["flags"] == {"magnification": "red"}
    assert "pairs_of_views" not in found[0]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("wrong", VIEWS)
def test_a_misstated_magnification_of_one_of_three_views_is_found_in_their_images(side: str, wrong: str) -> None:
    rig = with_oblique(room(side), 45.0 if side == "right" else -45.0)
    images = {view.name: shadow(view, balls(side)) for view in rig.views}
    stated = replace(
        rig, views=tuple(view.with_larger_pixels(1.05) if view.name == wrong else view for view in rig.views)
    )
    pairs = [
        PairScale(
            a, b, scale_disagreement([images[a], images[b]], [stated.view(a), stated.view(b)], stated.field_of_view)
        )
        for a, b in pairs_apart(stated)
    ]
    flags = {flag.name: flag for flag in several_scale_flags(VIEWS, pairs)}
    assert flags["magnification"].light == "red"
    assert f"the magnification of view '{wrong}' is wrong" in flags["magnification"].sentence
    assert "unchecked_scale" not in flags


def test_pairs_whose_beams_are_nearly_parallel_are_left_out() -> None:
    rig = room("right")
    assert pairs_apart(rig) == [("ap", "lateral")]
    assert pairs_apart(with_oblique(rig)) == [("ap", "lateral"), ("ap", "oblique"), ("lateral", "oblique")]
    for degrees in (10.0, 170.0, -175.0):
        assert pairs_apart(with_oblique(rig, degrees)) == [("ap", "lateral"), ("lateral", "oblique")]


def test_a_reconstruction_from_three_views_is_assessed_by_all_pairs() -> None:
    rig = with_oblique(preset("room", "right", (2.0, 2.0), 215, 215))
    model = knee_model(rig)
    kept: list[Encoded] = []
    radiographs = shadow_radiographs(rig)
    result = reconstruct(
        radiographs, rig, model, 48, "cpu", check_view_order=False, encoded=lambda g, f: kept.append(Encoded(g, f))
    )
    found = json.loads(json.dumps(assess(radiographs, rig, model, result, kept[0]).to_dict()))
    assert "failed" not in found
    assert [(pair["first"], pair["second"]) for pair in found["pairs_of_views"]] == pairs_apart(rig)
    assert found["turned_views"] == [] and found["second_view"] is None
