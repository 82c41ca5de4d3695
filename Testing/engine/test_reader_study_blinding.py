"""Nothing but the bones themselves tells a reader which version is which; the key says it to the owner."""

from __future__ import annotations

import json
import re
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from reader_study_cases import (
    READERS,
    SIDES,
    key_of,
    knee,
    made_once,
    make,
    mirrored,
    page_content,
    page_of,
    picture,
    write_cases,
)

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.reader_study.blinding import coded_models, new_seed, reader_names
from SSRKDCore.evaluation.reader_study.png import grey_png, padded
from SSRKDCore.evaluation.reader_study.radiograph_pictures import windowed
from SSRKDCore.evaluation.reader_study.shown_bones import cut_closed, shown_bones
from SSRKDCore.evaluation.reader_study.viewpoints import VIEWPOINTS, looking_directions, viewpoint_pictures
from SSRKDCore.evaluation.reader_study.wording import load_wording, shipped_wording
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory)


def chunks(png: bytes) -> list[tuple[str, bytes]]:
    found, at = [], 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        found.append((kind.decode(), png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def test_each_reader_gets_one_page_and_no_key(made: Path) -> None:
    files = {path.relative_to(made / "study").as_posix() for path in (made / "study").rglob("*") if path.is_file()}
    assert files == {"key.json", *(f"for_readers/{reader}/questionnaire.html" for reader in READERS)}
    for reader in READERS:
        codes = [item["code"] for item in page_content(page_of(made / "study", reader))["items"]]
        assert codes == [model["code"] for model in key_of(made / "study")["pages"][reader]]
        assert len(set(codes)) == 2 * len(SIDES)


def test_the_page_says_nothing_of_versions_or_cases(made: Path) -> None:
    for reader in READERS:
        page = page_of(made / "study", reader).read_text("utf-8")
        words = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page).lower()
        assert len(words) < 100_000
        for word in ("reference", "reconstruct", "truth", "synthetic", "predict", "segment", str(made), *SIDES):
            assert word.lower() not in words, word
        for word in ("ct", "ai", "seed", "version", "key.json"):
            assert not re.search(rf"(?<![\w.]){re.escape(word)}\b", words), word
        assert not re.search(r"https?:|//[a-z]|\bsrc=\"|:\s*url\(|@import", words.replace("// ", ""))


def test_every_page_item_has_the_same_make_up(made: Path) -> None:
    content = page_content(page_of(made / "study", "Anna"))
    views = [picture(address) for item in content["items"] for address in item["views"]]
    assert len(views) == 2 * len(SIDES) * len(VIEWPOINTS)
    assert len({len(view) for view in views}) == 1
    assert len(set(views)) == len(views)
    for view in views:
        kinds = [kind for kind, _ in chunks(view)]
        assert kinds == ["IHDR", "IDAT", "spAc", "IEND"]
        assert set(dict(chunks(view))["spAc"]) <= {0}
    assert len({dict(chunks(view))["IHDR"] for view in views}) == 1
    # Whatever else an item carries is the same for both versions of a case.
    pages = {model["code"]: model for model in key_of(made / "study")["pages"]["Anna"]}
    by_case: dict[str, list[str]] = {}
    for item in content["items"]:
        rest = {name: value for name, value in item.items() if name not in ("code", "views")}
        by_case.setdefault(pages[item["code"]]["case"], []).append(json.dumps(rest))
    assert all(len(rests) == 2 and len(set(rests)) == 1 for rests in by_case.values())
    assert set(content) == {
        *("study", "reader", "answers_schema", "radiograph_names", "view_names", "wording", "items", "pictures")
    }


def test_the_same_seed_gives_the_same_pages_and_another_seed_others(made: Path, tmp_path: Path) -> None:
    assert make(made, tmp_path / "first", only="alpha") == 0
    assert make(made, tmp_path / "again", only="alpha") == 0
    assert make(made, tmp_path / "other", only="alpha", seed=12) == 0
    for reader in READERS:
        first, again, other = (
            [model["code"] for model in key_of(study)["pages"][reader]]
            for study in (tmp_path / "first", tmp_path / "again", tmp_path / "other")
        )
        assert first == again
        assert not set(first) & set(other)
        assert page_of(tmp_path / "first", reader).read_bytes() == page_of(tmp_path / "again", reader).read_bytes()
    assert key_of(tmp_path / "other")["study"] != key_of(tmp_path / "first")["study"]


def test_orders_differ_by_reader_balance_and_keep_versions_apart() -> None:
    cases = [f"case{index}" for index in range(10)]
    orders = [tuple((model.case, model.version) for model in coded_models(cases, 5, reader)) for reader in range(300)]
    assert len(set(orders)) == len(orders)
    for order in orders:
        assert sorted(order) == sorted((case, version) for case in cases for version in ("reference", "reconstruction"))
        assert all(a[0] != b[0] for a, b in pairwise(order))
    firsts = np.array(
        [
            [order.index((case, "reference")) < order.index((case, "reconstruction")) for case in cases]
            for order in orders
        ]
    )
    # 3000 tosses: five standard deviations are 137.
    assert abs(firsts.sum() - 1500) < 137
    places = np.array([[order[place][1] == "reference" for place in range(20)] for order in orders]).mean(axis=0)
    assert (np.abs(places - 0.5) < 5 * 0.5 / np.sqrt(len(orders))).all()
    # A single case leaves no other order.
    assert {model.version for model in coded_models(["only"], 5, 0)} == {"reference", "reconstruction"}


def test_codes_carry_no_version() -> None:
    models = [model for reader in range(200) for model in coded_models(["a", "b", "c"], 3, reader)]
    assert len({model.code for model in models}) == len(models)
    values = {
        version: np.array([int(m.code, 16) for m in models if m.version == version]) / 2**32
        for version in ("reference", "reconstruction")
    }
    # Uniform on 0..1: the difference of two means of 600 has a deviation of 0.0167.
    assert abs(values["reference"].mean() - values["reconstruction"].mean()) < 5 * 0.0167
    assert new_seed() != new_seed()


def test_both_versions_are_cut_by_the_same_planes() -> None:
    bones, longer = knee("right"), knee("right", 1.0)
    box = np.array([[-80.0, -80.0, -80.0], [80.0, 80.0, 80.0]])
    closed_at_box = {name: cut_closed(surface, box) for name, surface in longer.items()}
    shown = shown_bones("case", bones, closed_at_box, box, {"tibia": (-60.0, 200.0)}, spacing_mm=0.5)
    tops = {version: parts["femur"].bounds[1, 2] for version, parts in shown.versions.items()}
    bottoms = {version: parts["tibia"].bounds[0, 2] for version, parts in shown.versions.items()}
    assert tops["reference"] == pytest.approx(77.5, abs=1e-3) and tops["reconstruction"] == pytest.approx(
        77.5, abs=1e-3
    )
    assert bottoms["reference"] == pytest.approx(-57.5, abs=1e-3)
    assert bottoms["reconstruction"] == pytest.approx(-57.5, abs=1e-3)


def test_cutting_keeps_the_solid() -> None:
    axis = np.array([0.0, 10.0])
    corners = np.array([[x, y, z] for x in axis for y in axis for z in axis])
    faces = np.array(
        [
            [0, 1, 3],
            [0, 3, 2],
            [4, 6, 7],
            [4, 7, 5],
            [0, 4, 5],
            [0, 5, 1],
            [2, 3, 7],
            [2, 7, 6],
            [0, 2, 6],
            [0, 6, 4],
            [1, 5, 7],
            [1, 7, 3],
        ]
    )
    cube = Surface(corners, faces)
    box = np.array([[-np.inf, 2.0, -np.inf], [np.inf, np.inf, 7.0]])
    assert cut_closed(cube, box).volume == pytest.approx(10 * 8 * 7)
    assert cut_closed(cube, np.array([[20.0] * 3, [30.0] * 3])).is_empty
    assert cut_closed(cube, np.array([[-1.0] * 3, [11.0] * 3])) is cube


def test_missing_and_extra_bones_are_named_and_shown_alike() -> None:
    bones = knee("right")
    without_fibula = {name: bones[name] for name in ("femur", "tibia", "patella")}
    shown = shown_bones("case", without_fibula, {"femur": bones["femur"], "fibula": bones["fibula"]}, None)
    assert shown.bones == ("patella", "femur", "tibia")
    assert set(shown.versions["reconstruction"]) == {"femur"}
    assert shown.missing == ("patella", "tibia") and shown.left_out == ("fibula",)
    far = np.eye(4)
    far[0, 3] = 500.0
    with pytest.raises(InputError, match="LPS"):
        shown_bones("case", bones, {name: bone.transformed(far) for name, bone in bones.items()}, None)
    with pytest.raises(InputError, match="shares no bone"):
        shown_bones("case", {"femur": bones["femur"]}, {"patella": bones["patella"]}, None)


def test_lateral_and_medial_are_where_they_belong() -> None:
    # From the lateral side one looks towards the midline: +x for a right knee.
    assert looking_directions("right")["lateral_side"] == pytest.approx([1.0, 0.0, 0.0])
    assert looking_directions("left")["lateral_side"] == pytest.approx([-1.0, 0.0, 0.0])
    assert looking_directions("left")["anterior"] == pytest.approx([0.0, 1.0, 0.0])
    assert looking_directions("right")["anterolateral_above"][2] < 0
    right = knee("right")["tibia"], knee("right")["fibula"]
    left = [mirrored(surface) for surface in right]
    points = np.concatenate([surface.vertices for surface in right])
    pictures = viewpoint_pictures(right, "right", points)
    flipped = viewpoint_pictures(left, "left", points * [-1.0, 1.0, 1.0])
    for name, a, b in zip(VIEWPOINTS, pictures, flipped, strict=True):
        # The mirror image of a knee is the mirror image of its picture, up to light and the raster.
        assert ((a > 60) != (b[:, ::-1] > 60)).mean() < 0.01, name
    # The fibula stands lateral: at the left edge of a right knee seen from the front.
    columns = np.flatnonzero((viewpoint_pictures(right[1:], "right", points)[0] > 60).any(axis=0))
    assert columns.max() < pictures[0].shape[1] / 2


def test_pngs_can_be_read_and_padded() -> None:
    from io import BytesIO

    from PIL import Image

    given = np.random.default_rng(0).integers(0, 256, (13, 7)).astype(np.uint8)
    png = grey_png(given)
    for file in (png, padded(png, len(png) + 12), padded(png, len(png) + 500)):
        assert (np.array(Image.open(BytesIO(file))) == given).all()
        assert Image.open(BytesIO(file)).info == {}
    with pytest.raises(ValueError, match="do not hold"):
        padded(png, len(png) + 3)


def test_radiographs_keep_their_proportions() -> None:
    pixels = np.zeros((1000, 400), dtype=np.float32)
    pixels[:500, :200] = 1.0
    shown = windowed(pixels, (0.2, 0.25))
    assert shown.shape == (720, 360)
    assert shown[:350, :170].min() == 255 and shown[370:].max() == 0


@pytest.mark.parametrize(("given", "names"), [(["2"], ["reader1", "reader2"]), (["Ann", "Böb-2"], ["Ann", "Böb-2"])])
def test_reader_names(given: list[str], names: list[str]) -> None:
    assert reader_names(given) == names


@pytest.mark.parametrize("given", [["0"], ["101"], ["a", "A"], ["../x"], ["a b"], ["_a"], ["x" * 41], []])
def test_unusable_reader_names(given: list[str]) -> None:
    with pytest.raises(InputError):
        reader_names(given)


def test_a_translation_takes_the_place_of_the_wording(made: Path, tmp_path: Path) -> None:
    wording = shipped_wording()
    wording["language"], wording["title"] = "de", "Leserstudie </script><b>"
    wording["introduction"] = ["Ein Absatz."]
    path = tmp_path / "wording.json"
    path.write_text(json.dumps(wording), encoding="utf-8")
    assert make(made, tmp_path / "study", "--wording", str(path), only="beta") == 0
    page = page_of(tmp_path / "study", "Anna").read_text("utf-8")
    assert '<html lang="de">' in page and "Leserstudie &lt;/script&gt;" in page
    assert page.count("</script>") == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w["interface"].pop("next"), "interface does not have the entries"),
        (lambda w: w["interface"].update(page="Page {numero}"), "page must have the placeholders"),
        (lambda w: w["scales"][0]["grades"].pop(), "grades has 3 entries"),
        (lambda w: w["scales"].reverse(), "the scales must be"),
        (lambda w: w.update(title=" "), "title is not a text"),
        (lambda w: w.update(schema="other/1"), "only 'ssrkd-reader-wording/1'"),
    ],
)
def test_an_incomplete_translation_is_refused(tmp_path: Path, change: object, words: str) -> None:
    wording = shipped_wording()
    change(wording)  # type: ignore[operator]
    path = tmp_path / "wording.json"
    path.write_text(json.dumps(wording), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(words)):
        load_wording(path)


def test_a_case_without_a_reconstruction_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path)
    for path in (tmp_path / "reconstructions" / "beta").iterdir():
        path.unlink()
    (tmp_path / "reconstructions" / "beta").rmdir()
    assert make(tmp_path, tmp_path / "study", only="beta") == 2
    assert "no reconstruction of case beta" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
    (tmp_path / "reconstructions" / "beta").mkdir()
    write_surface(tmp_path / "reconstructions" / "beta" / "femur.ply", knee("left")["femur"])
    assert make(tmp_path, tmp_path / "study", only="beta") == 0
    assert "beta: the reconstruction lacks patella, fibula, tibia." in capsys.readouterr().out
    assert key_of(tmp_path / "study")["cases"]["beta"]["missing_in_reconstruction"] == ["patella", "fibula", "tibia"]
