"""What the remedies cost: every job is timed, and shares belong to the seconds that they are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.reconstruction import remedy_cost
from SSRKDCore.reconstruction.remedy_cost import NETWORK, REFINED, _shares


def test_shares_are_taken_within_a_turn_and_sums_hold_what_goes_together() -> None:
    slow = {
        "paper network, float32": 4.0, NETWORK: 2.0, REFINED: 8.0, "prepare, 900 pixels": 0.4, "prepare, 500 pixels": 9.0,
        "match, 512 pixels": 0.2, "match, 256 pixels": 0.1,
        "style network, 512 pixels, float32": 1.0, "style network, 256 pixels, float32": 0.5,
        "trust": 0.6,
    }  # fmt: skip
    # A turn in which the machine was three times as slow says the same.
    turns = [slow, {name: 3 * seconds for name, seconds in slow.items()}, slow]
    found = _shares(turns, "paper", 900, {NETWORK: 256, REFINED: 256}, 512)
    assert set(found) == {"paper network, float32", NETWORK, REFINED}
    paper, refined = found["paper network, float32"], found[REFINED]
    assert paper["prepare"] == pytest.approx(0.1) and paper["match"] == pytest.approx(0.05)
    assert refined["match"] == pytest.approx(0.1 / 8) and refined["style network"] == pytest.approx(0.5 / 8)
    assert paper["prepare, match, trust"] == pytest.approx(1.2 / 4)
    assert found[NETWORK]["prepare, style network, trust"] == pytest.approx(1.5 / 2)


def test_numbers_that_measure_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for change in (["--repeats", "0"], ["--pixels", "10"]):
        monkeypatch.setattr("sys.argv", ["remedy_cost", "--out", str(tmp_path / "cost.json"), *change])
        assert remedy_cost.main() == 2
    assert not (tmp_path / "cost.json").exists()


def test_large_radiographs_hold_something_to_prepare(tmp_path: Path) -> None:
    from SSRKDCore.cases import load_case
    from SSRKDCore.radiographs.reader import read_radiograph
    from SSRKDCore.resource_files import sample_case_folder

    case = load_case(sample_case_folder())
    shown = [read_radiograph(case.radiographs[view.name], view.name) for view in case.rig.views]
    files = remedy_cost._written(tmp_path, shown, case.rig, 600)
    turn: dict[str, float] = {}
    steps = remedy_cost._files(turn, "600 pixels", files)
    assert read_radiograph(files[0]).pixels.shape == (600, 600)
    assert any("collimator" in step for step in steps) and any("letters" in step for step in steps)
    assert turn["read, 600 pixels"] > 0 and turn["prepare, 600 pixels"] >= 0
    with pytest.raises(InputError):
        read_radiograph(tmp_path / "absent.dcm")


def test_a_network_is_charged_its_own_trust_and_a_style_network_of_its_precision() -> None:
    turn = {
        "paper network, float32": 4.0, "paper network, bfloat16": 2.0, "paper network, bfloat16, within 0.2 mm": 1.0, NETWORK: 2.0,
        "prepare, 900 pixels": 0.1, "match, 512 pixels": 0.1, "match, 256 pixels": 0.1, "style network, 512 pixels, float32": 0.2,
        "style network, 512 pixels, bfloat16": 0.1, "style network, 256 pixels, float32": 0.1, "style network, 256 pixels, bfloat16": 9.0,
        "trust": 0.2, "trust of the paper network, float32": 0.8, "trust of the paper network, bfloat16": 0.6,
    }  # fmt: skip
    found = _shares([turn], "paper", 900, {NETWORK: 256}, 512)
    shares = {name: found[name]["trust"] for name in found}
    assert shares == pytest.approx(
        {
            "paper network, float32": 0.2, "paper network, bfloat16": 0.3, "paper network, bfloat16, within 0.2 mm": 0.6,
            NETWORK: 0.1,
        }
    )  # fmt: skip
    styles = {name: found[name]["style network"] for name in found}
    assert styles == pytest.approx(
        {
            "paper network, float32": 0.05, "paper network, bfloat16": 0.05, "paper network, bfloat16, within 0.2 mm": 0.1,
            NETWORK: 0.05,
        }
    )  # fmt: skip


def test_threads_that_the_machine_has_not_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in ("0", "100000"):
        monkeypatch.setattr("sys.argv", ["remedy_cost", "--out", str(tmp_path / "cost.json"), "--threads", threads])
        assert remedy_cost.main() == 2
    assert not (tmp_path / "cost.json").exists()
