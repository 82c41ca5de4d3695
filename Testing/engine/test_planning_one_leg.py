"""Bones of two legs, two frames, the other side or another unit: refused, or told. And how wrong a figure may be."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from leg_shapes import MIRROR, cut_between, moved, rotation, simple_leg

from SSRKDCore import cli
from SSRKDCore.errors import InputError
from SSRKDCore.planning.landmarks import find_landmarks
from SSRKDCore.planning.measurement_errors import SCHEMA as ERRORS_SCHEMA
from SSRKDCore.planning.measurements import Measurement, measure, measured
from SSRKDCore.planning.plausible_ranges import doubts
from SSRKDCore.planning.reconstruction_error_table import expected_error, reconstruction_error
from SSRKDCore.planning.reconstruction_errors import main, table_of
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces, write_surface


def knee(side: str = "right") -> dict[str, Surface]:
    return dict(simple_leg(side, 8.0, 3.0, 2.0, knee_only=True))


def refusal(bones: dict[str, Surface], side: str = "right") -> str:
    with pytest.raises(InputError) as refused:
        find_landmarks(bones, side)
    return str(refused.value)


def shifted(bones: dict[str, Surface], names: tuple[str, ...], by: tuple[float, float, float]) -> dict[str, Surface]:
    return {name: bone.transformed(moved(np.eye(3), by)) if name in names else bone for name, bone in bones.items()}


@pytest.mark.parametrize("side", ["right", "left"])
def test_bones_that_cannot_be_of_one_leg_in_one_frame_are_refused(side: str) -> None:
    bones = knee(side)
    shank = ("tibia", "fibula")
    assert "femur and the tibia lie 4" in refusal(shifted(bones, shank, (0, 0, -40)), side)
    assert "mm deep in the tibia" in refusal(shifted(bones, shank, (0, 0, 30)), side)
    assert "beside each other" in refusal(shifted(bones, shank, (35, 0, 0)), side)
    assert "tibia and the fibula lie" in refusal(shifted(bones, ("fibula",), (0, 60, 0)), side)
    assert "femur and the patella lie" in refusal(shifted(bones, ("patella",), (0, -60, 0)), side)
    assert "fibula reaches 4" in refusal(shifted(bones, ("fibula",), (0, 0, 50)), side)
    # What was cut away beside the joint is no joint.
    assert "femur and the tibia lie" in refusal({**bones, "femur": cut_between(bones["femur"], 30.0, 120.0)}, side)


@pytest.mark.parametrize("factor", [0.001, 0.1, 1.0 / 25.4])
def test_other_units_are_told_as_such(factor: float) -> None:
    scaled = {name: Surface(bone.vertices * factor, bone.faces) for name, bone in knee().items()}
    assert "give a knee in millimetres" in refusal(scaled)


@cache
def real_knee(folder: Path) -> dict[str, Surface]:
    return {name: cut_between(bone, -110.0, 110.0) for name, bone in read_bone_surfaces(folder).items()}


@pytest.mark.parametrize(("leg", "side", "other"), [("JIA_MRI_R", "right", "left"), ("MC22_L", "left", "right")])
def test_a_tibia_without_a_fibula_tells_its_side_and_its_front(
    leg: str, side: str, other: str, shared_data: Path
) -> None:
    bones = real_knee(shared_data / "legs" / leg)
    for names in (("tibia",), ("tibia", "femur"), ("tibia", "femur", "patella")):
        some = {name: bones[name] for name in names}
        mirrored = {name: bone.transformed(MIRROR) for name, bone in some.items()}
        assert find_landmarks(some, side).side == side
        assert f"shaped like that of a {side} leg" in refusal(some, other)
        assert f"shaped like that of a {other} leg" in refusal(mirrored, side)
    # RAS taken for LPS: without a patella nothing else tells the front.
    turned = {name: bones[name].transformed(moved(rotation((0, 0, 1), 180.0))) for name in ("tibia", "femur")}
    assert "another frame than LPS" in refusal(turned, side)
    assert refusal({**bones, "fibula": bones["patella"], "patella": bones["fibula"]}, side)


def test_a_femur_of_the_other_side_is_told(shared_data: Path) -> None:
    femur = {"femur": real_knee(shared_data / "legs" / "JIA_MRI_R")["femur"]}
    assert doubts(measure(find_landmarks(femur, "right"))) == []
    (doubt,) = doubts(measure(find_landmarks(femur, "left")))
    assert doubt.name == "aLDFA" and doubt.value > doubt.limit == 91.0 and "check the side" in doubt.message


def test_what_no_leg_has_and_a_bent_knee_are_told() -> None:
    landmarks = find_landmarks(knee(), "right")
    values = measure(landmarks)
    assert doubts(values) == []

    def with_value(name: str, value: float) -> list[str]:
        changed = Measurement(**{**values[name].to_dict(), "value": value})
        return [doubt.message for doubt in doubts({**values, name: changed})]

    assert with_value("JLCA", -12.0)[0].startswith("JLCA is -12.0 deg")
    assert with_value("Caton_Deschamps", 2.5)[0].startswith("Caton_Deschamps is 2.5, which")
    (bent,) = with_value("flexion", 60.0)
    assert "bent by 60 degrees: aFTA, JLCA are measured" in bent
    assert with_value("aMPTA", 85.0) == []


def test_each_figure_has_its_expected_error() -> None:
    values = measure(find_landmarks(knee(), "right"))
    for name in ("aMPTA", "aLDFA", "slope_medial", "slope_lateral", "JLCA"):
        item = values[name]
        assert item.reconstruction_error is not None and item.reconstruction_error > 0.3
        assert item.expected_error == pytest.approx(np.hypot(item.reconstruction_error, item.short_shaft_error or 0.0))
    assert values["HKA"].expected_error is None
    assert expected_error("aMPTA", 3.0) == pytest.approx(np.hypot(3.0, reconstruction_error("aMPTA") or 0.0))
    assert expected_error("HKA", None) is None
    assert measured("aMPTA", find_landmarks(knee(), "right")) == values["aMPTA"]


def test_the_table_of_expected_errors_is_that_of_the_measured_files(repository: Path, tmp_path: Path) -> None:
    measured_files = [
        repository / "docs" / "measured" / "measurement_errors" / group / "errors.json"
        for group in ("unseen-room", "left-out", "synthetic-room")
    ]
    main(["--errors", *map(str, measured_files), "--out", str(tmp_path / "table.json")])
    shipped = repository / "SSRKDCore" / "planning" / "reconstruction_errors.json"
    assert (tmp_path / "table.json").read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")


def test_an_installed_engine_has_the_tables(repository: Path) -> None:
    listed = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    tables = {path.name for path in (repository / "SSRKDCore" / "planning").glob("*.json")}
    assert tables and tables == set(listed["SSRKDCore.planning"])


def report(weights: str, *errors: float | None) -> dict[str, object]:
    cases = {
        f"case{index}": {"errors": {"aMPTA": error}, "failure": None, "reach_in_widths": {"tibia": 1.0 + index}}
        for index, error in enumerate(errors)
    }
    model = {"name": "m", "path": "m", "weights_sha256": weights}
    return {"schema": ERRORS_SCHEMA, "command": "c", "model": model, "by_case": cases}


def test_the_table_takes_each_group_apart_and_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    table = table_of({"people": report("w", 3.0, -3.0, 3.0, None), "few": report("w", 9.0, 9.0)})
    assert set(table["reconstruction"]) == {"aMPTA"} and set(table["reconstruction"]["aMPTA"]) == {"people"}
    assert table["reconstruction"]["aMPTA"]["people"]["rms"] == pytest.approx(3.0)
    assert table["reach"]["tibia"] == {"least": 1.0, "mean": pytest.approx(13.0 / 6.0), "most": 4.0}
    with pytest.raises(InputError, match="different models"):
        table_of({"one": report("w", 1.0, 1.0, 1.0), "other": report("v", 1.0, 1.0, 1.0)})
    with pytest.raises(InputError, match="No measurement was made on 3 knees"):
        table_of({"few": report("w", 9.0, 9.0)})
    (tmp_path / "other.json").write_text(json.dumps({"schema": "x"}), encoding="utf-8")
    with pytest.raises(InputError, match="give an errors"):
        main(["--errors", str(tmp_path / "other.json"), "--out", str(tmp_path / "table.json")])
    assert not (tmp_path / "table.json").exists()


def test_measure_shows_the_errors_beside_the_figures_and_what_to_doubt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bones").mkdir()
    turn = moved(rotation((0, 1, 0), 14.0))
    for name, bone in knee().items():
        write_surface(
            tmp_path / "bones" / f"{name}.ply", bone.transformed(turn) if name in ("tibia", "fibula") else bone
        )
    words = ["measure", str(tmp_path / "bones"), "--side", "right", "--no-pictures", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "measurements.json").read_text(encoding="utf-8"))
    item = found["measurements"]["aMPTA"]
    assert f"{item['value']:.2f} +- {item['expected_error']:.2f}" in told and "+-: the error to be expected" in told
    assert found["expected_error_is"] and found["reconstruction_errors_measured_on"]["reach"]["tibia"]["mean"] > 0.5
    assert [words for words in found["warnings"] if words.startswith("JLCA is")] and "Warning: JLCA is" in told
    header = (tmp_path / "out" / "measurements.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "measurement,value,unit,expected_error,short_shaft_error,reconstruction_error,missing"
