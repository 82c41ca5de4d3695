"""The network that compares two views' heights: what it computes, how it is trained, calibrated, kept and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from training_cases import write_knee_case

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.epipolar_rows import ACROSS_MM, HEIGHTS_MM
from SSRKDCore.networks.height_matching import SCALES, SHIFTS_MM, HeightMatcher, seen_channels, summed_along
from SSRKDCore.trust import fit_view_scales, view_scale_pairs, view_scale_training
from SSRKDCore.trust.known_spreads import fit_factors, known_to
from SSRKDCore.trust.view_scale_batches import LARGEST_SCALE, LARGEST_SHIFT_MM, stated_batch, training_batch
from SSRKDCore.trust.view_scale_calibration import calibrated, stated_errors
from SSRKDCore.trust.view_scale_matcher import bundled_matcher, load_matcher, matched, matcher_folder, save_matcher
from SSRKDCore.trust.view_scale_pairs import STORED_ACROSS_MM, STORED_HEIGHTS_MM, ViewPairs, view_pairs
from SSRKDCore.trust.view_scale_training import MatcherTraining, loss_of, train


def _pairs(count: int, seed: int = 0) -> ViewPairs:
    """Bars across the leg at random heights, alike in both views but for their width and brightness."""
    generator = np.random.default_rng(seed)
    up, right = STORED_HEIGHTS_MM[:, None], STORED_ACROSS_MM[None, :]
    rows = np.zeros((count, 2, len(STORED_HEIGHTS_MM), len(STORED_ACROSS_MM)), np.float16)
    for pair in rows:
        bars = [(generator.uniform(-110, 110), generator.uniform(2, 6)) for _ in range(9)]
        for view in pair:
            width = generator.uniform(25, 60)
            for middle, thick in bars:
                gain = generator.uniform(0.7, 1.3)
                view += (gain * np.exp(-(((up - middle) / thick) ** 2) - (right / width) ** 4)).astype(np.float16)
    return ViewPairs(rows, np.array(["plain", "display"])[np.arange(count) % 2], np.array(["case"] * count))


def test_the_sum_along_a_line_finds_the_scale_and_the_shift() -> None:
    rows = 120
    height = np.arange(rows) - (rows - 1) / 2
    for scale, shift in ((0.0, 0.0), (0.05, -3.0), (-0.1, 6.5)):
        there = height * (1 + scale) + shift
        alike = np.exp(-0.5 * (height[None, :] - there[:, None]) ** 2)
        table = summed_along(torch.from_numpy(alike[None].astype(np.float32)))[0].numpy()
        row, column = np.unravel_index(table.argmax(), table.shape)
        assert float(SCALES[row]) == pytest.approx(scale, abs=1e-6)
        assert float(SHIFTS_MM[column]) == pytest.approx(shift, abs=1e-6)


def test_what_is_outside_and_the_unit_are_not_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((1, 60, 80), generator=generator)
    rows[:, :20] = torch.nan
    seen, other = seen_channels(rows), seen_channels(40.0 * rows - 7.0)
    assert torch.isfinite(seen).all() and not seen[:, :, :20].any()
    torch.testing.assert_close(seen, other, atol=1e-2, rtol=1e-2)
    assert not seen_channels(torch.ones((1, 60, 80)))[:, :2].any()


def test_spreads_are_of_what_is_possible() -> None:
    values = torch.full((1, len(SCALES), len(SHIFTS_MM)), -100.0)
    values[0, 28, 16] = values[0, 38, 20] = 0.0
    found = matched(values)
    assert found.scale[0] == pytest.approx(0.025) and found.scale_spread[0] == pytest.approx(0.025)
    assert found.shift_mm[0] == pytest.approx(1.0) and found.shift_spread_mm[0] == pytest.approx(1.0)


def test_batches_are_misstated_by_what_they_say() -> None:
    pairs = _pairs(3)
    batch = stated_batch(pairs, np.arange(3), [0.0, 0.08, -0.08], [0.0, 4.0, -4.0])
    assert batch.first.shape == (3, len(HEIGHTS_MM), len(ACROSS_MM))

    def profile(rows: Tensor) -> np.ndarray:
        return torch.nan_to_num(rows).mean(dim=1).numpy()

    for first, second, scale, shift in zip(*vars(batch).values(), strict=True):
        moved = np.interp(HEIGHTS_MM * (1 + float(scale)) + float(shift), HEIGHTS_MM, profile(second))
        inner = np.abs(HEIGHTS_MM) < 80
        assert np.corrcoef(moved[inner], profile(first)[inner])[0, 1] > 0.9
    random = training_batch(pairs, np.arange(12) % 3, np.random.default_rng(1))
    again = training_batch(pairs, np.arange(12) % 3, np.random.default_rng(1))
    torch.testing.assert_close(random.second, again.second, equal_nan=True)
    assert (random.scale.abs() <= LARGEST_SCALE).all() and (random.shift_mm.abs() <= LARGEST_SHIFT_MM).all()
    assert torch.isnan(random.first).any() and torch.isfinite(random.first).any()


def test_a_stopped_training_goes_on_to_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_scale_training, "_CHECKPOINT_STEPS", 2)
    pairs, training = _pairs(4), MatcherTraining(steps=4, batch=2)
    whole = train(pairs, training, tmp_path / "whole.ckpt")
    asked = iter([False, False, False, True])
    with pytest.raises(Cancelled):
        train(pairs, training, tmp_path / "parts.ckpt", cancelled=lambda: next(asked))
    said: list[str] = []
    parts = train(pairs, training, tmp_path / "parts.ckpt", lambda share, words: said.append(words))
    assert len(said) == 2 and said[-1].startswith("step 4 of 4")
    for one, other in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(InputError, match="other settings"):
        train(pairs, replace(training, seed=1), tmp_path / "parts.ckpt")
    (tmp_path / "parts.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="damaged"):
        train(pairs, training, tmp_path / "parts.ckpt")


def test_training_steps_learn() -> None:
    """A dozen steps on two pairs that are always misstated alike."""
    torch.manual_seed(0)
    network, batch = HeightMatcher(), stated_batch(_pairs(2), np.arange(2), [0.05, -0.05], [2.0, -2.0])
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(network, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_what_a_spread_is_worth_holds_for_new_cases_and_rises() -> None:
    """Errors of spreads that are honest where they are small, and a third of the truth where they are large."""
    generator = np.random.default_rng(2)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        spreads = generator.uniform(0.2, 2.0, count)
        return spreads, generator.normal(0.0, np.where(spreads > 1.2, 3.0, 1.0) * spreads)

    factors = fit_factors(*drawn(3000))
    assert factors[0, 0] == 0.0 and (np.diff(factors, axis=0) > 0).all()
    assert factors[0, 1] == pytest.approx(2.6, abs=0.5) and factors[-1, 1] == pytest.approx(7.7, abs=1.2)
    spreads, errors = drawn(4000)
    for low, high in ((0.2, 1.0), (1.4, 2.0)):
        here = (spreads >= low) & (spreads < high)
        held = [abs(e) <= known_to(factors, s) for s, e in zip(spreads[here], errors[here], strict=True)]
        assert np.mean(held) == pytest.approx(0.99, abs=0.01)
    # One value for all where larger spreads are worth no less.
    falling = fit_factors(spreads, np.where(spreads > 1.0, 0.1, 1.0) * spreads)
    assert falling.tolist() == [[0.0, pytest.approx(1.0)]]
    with pytest.raises(InputError, match="too few"):
        fit_factors(spreads[:20], errors[:20])


def test_a_network_is_calibrated_on_given_pairs() -> None:
    pairs = _pairs(150)
    matcher, looks = calibrated(bundled_matcher().network, pairs, 0)
    found = stated_errors(matcher.network, pairs, 0)
    for factors, spreads, errors in (
        (matcher.scale_factors, found.scale_spread, found.scale_error),
        (matcher.shift_factors, found.shift_spread, found.shift_error),
        (matcher.profile_scale_factors, found.profile_spread, found.profile_scale_error),
        (matcher.profile_shift_factors, found.profile_spread, found.profile_shift_error),
    ):
        known = np.array([known_to(factors, spread) for spread in spreads])
        assert np.isfinite(spreads).all() and (np.abs(errors) <= known).mean() >= 0.99
    assert {look: row["pairs"] for look, row in looks.items()} == {"plain": 75, "display": 75}
    # The surer of two measures is believed, each of which holds for 99 %.
    assert sum(row["within_what_is_known"] for row in looks.values()) >= 0.98 * len(pairs.looks)


def test_a_matcher_survives_its_files_and_others_are_refused(tmp_path: Path) -> None:
    matcher = bundled_matcher()
    save_matcher(tmp_path / "kept", matcher, {"held_out": {"pairs": 3}})
    again = load_matcher(tmp_path / "kept")
    for name in ("scale_factors", "shift_factors", "profile_scale_factors", "profile_shift_factors"):
        np.testing.assert_allclose(getattr(again, name), getattr(matcher, name))
    for one, other in zip(matcher.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["card.json", "weights.safetensors"]
    card = json.loads((tmp_path / "kept" / "card.json").read_text())
    for name, change, words in (
        ("schema", {"schema": "other"}, "not of schema"),
        ("weights", {"weights_sha256": "0" * 64}, "not what its card says"),
        ("factor", {"scale_factors": [[0.0, -1.0]]}, "how well scales are known"),
        ("none", {"shift_factors": None}, "how well scales are known"),
    ):
        shutil.copytree(tmp_path / "kept", tmp_path / name)
        (tmp_path / name / "card.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(InputError, match=words):
            load_matcher(tmp_path / name)
    (tmp_path / "kept" / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="missing"):
        load_matcher(tmp_path / "kept")


def test_the_bundled_one_says_where_it_comes_from() -> None:
    card = json.loads((matcher_folder() / "card.json").read_text())
    assert "fit_view_scales" in card["command"] and card["date"] and card["commit"]
    assert card["held_out"]["pairs"] >= 1000 and set(card["held_out"]["looks"]) == set(view_scale_pairs.LOOKS)


def test_pairs_are_of_all_looks_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_knee_case(tmp_path / "cases" / "right-knee")
    pairs = view_pairs([folder], 6, tmp_path / "work", 3)
    assert pairs.rows.shape == (6, 2, len(STORED_HEIGHTS_MM), len(STORED_ACROSS_MM))
    assert set(pairs.looks) <= set(view_scale_pairs.LOOKS) and len(set(pairs.looks)) > 1
    assert np.nanmean(pairs.rows[0, 0].astype(float)) == pytest.approx(0.0, abs=0.01)
    assert np.nanstd(pairs.rows[0, 1].astype(float)) == pytest.approx(1.0, abs=0.01)

    def unasked(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(view_scale_pairs, "_pairs_of", unasked)
    np.testing.assert_array_equal(view_pairs([folder], 6, tmp_path / "work", 3).rows, pairs.rows)
    with pytest.raises(Cancelled):
        view_pairs([folder], 6, tmp_path / "work", 3, cancelled=lambda: True)


def test_the_command_refuses_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, others = tmp_path / "cases", tmp_path / "others"
    write_knee_case(cases / "right-knee")
    others.mkdir()
    end = ["--work", str(tmp_path / "w"), "--out", str(tmp_path / "out")]

    def refusal(held_out: Path) -> str:
        assert fit_view_scales.main(["--cases", str(cases), "--held-out", str(held_out), *end]) == 2
        return capsys.readouterr().err

    assert "holds no case" in refusal(others)
    assert "learns from" in refusal(cases)
    write_knee_case(others / "right-knee")
    assert "too few to tell how well" in refusal(others)
    assert not (tmp_path / "w").exists() and not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    assert (
        fit_view_scales.main(["--cases", str(cases), "--held-out", str(others), "--held-out-pairs", "150", *end]) == 2
    )
    assert "is a file" in capsys.readouterr().err
    with pytest.raises(InputError, match="cannot be written"):
        save_matcher(tmp_path / "out", bundled_matcher(), {})
    assert not (tmp_path / "w").exists() and (tmp_path / "out").read_text() == "a file"
