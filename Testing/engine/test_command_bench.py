"""`ssrkd bench` on a small case."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from SSRKDCore.commands import bench
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import to_json_text
from SSRKDCore.reconstruction import benchmark, speed
from SSRKDCore.reconstruction.precision import supported_precisions


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def test_figures_of_the_compact_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(benchmark, "NAIVE_SLICE", 3000)
    monkeypatch.setattr(benchmark, "REPETITIONS", 1)
    result = bench.run(
        _arguments("--architecture", "compact", "--resolution", "64", "--repeats", "2", "--warm-up", "0")
    )
    assert result["labels_identical"] is True
    assert result["max_logit_difference"] < 1e-4
    assert result["speedup"] > 1
    assert result["exit_code"] == 0
    assert 50e6 < result["peak_memory_bytes"] < 4e9
    seconds = result["seconds"]["compact"]
    assert set(seconds) == {"encode", "tables", "octree", "components", "surfaces", "total"}
    assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"))
    figures = result["architectures"]["compact"]
    assert figures["naive_extrapolated"] and figures["naive_points_measured"] == 3000
    # The synthetic knee is one: four bones, so that surfaces are followed as in a real one.
    assert all(count > 300 for count in figures["triangles"].values())
    assert json.loads(to_json_text(result))["labels_identical"] is True
    shown = capsys.readouterr().out
    assert "times faster" in shown and "identical to dense" in shown and "extrapolated" in shown


def test_wrong_labels_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself must be able to fail."""
    monkeypatch.setattr(benchmark, "NAIVE_SLICE", 1000)
    monkeypatch.setattr(benchmark, "REPETITIONS", 1)
    search = benchmark.evaluate_sparse

    def careless(field, resolution):  # type: ignore[no-untyped-def]
        occupancy = search(field, resolution)
        occupancy.labels[10:13, 10:13, 10:13] = 2
        return occupancy

    monkeypatch.setattr(benchmark, "evaluate_sparse", careless)
    result = bench.run(
        _arguments("--architecture", "compact", "--resolution", "48", "--repeats", "1", "--warm-up", "0")
    )
    assert result["labels_identical"] is False
    assert result["exit_code"] == 1


def test_resolution_out_of_range() -> None:
    with pytest.raises(InputError, match="resolution"):
        bench.run(_arguments("--resolution", "7"))


def test_speed_of_every_precision_without_the_published_path(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--architecture", "compact", "--resolution", "48", "--repeats", "3", "--warm-up", "1", "--no-naive")
    result = bench.run(_arguments(*words))
    assert result["exit_code"] == 0 and "speedup" not in result
    measured = result["speed"]["compact"]
    assert (measured["device"], measured["repeats"], measured["warm_up"]) == ("cpu", 3, 1)
    supported = supported_precisions(torch.device("cpu"))
    within = tuple(f"{name}, within 0.2 mm" for name in supported)
    assert tuple(measured["precisions"]) == supported + within
    for name, figures in measured["precisions"].items():
        assert figures["surface_tolerance_mm"] == (0.2 if name in within else 0.0)
        assert figures["precision"] == name.split(",")[0]
        for values in figures["seconds"].values():
            assert 0 < values["lowest"] <= values["median"] <= values["highest"]
        assert figures["peak_memory_bytes"] > 50e6
        # No stage is faster than its arithmetic alone; a busy machine only makes it slower.
        bound = figures["arithmetic_bound"]["seconds"]
        assert 0 < bound["network"] < 1.5 * figures["seconds"]["network"]["highest"]
        assert figures["labels_differing_share"] == figures["labels_differing"] / 48**3
    exact = measured["precisions"]["float32"]
    assert (exact["ratio_to_float32"], exact["labels_differing"], exact["largest_displacement_mm"]) == (1.0, 0, 0.0)
    shown = capsys.readouterr().out
    assert "median of 3 turns after 1 of warm-up" in shown and "the arithmetic up to the labels alone" in shown
    assert json.loads(to_json_text(result))["speed"]["compact"]["threads"] == torch.get_num_threads()


def test_without_a_tolerance_nothing_is_interpolated() -> None:
    words = ("--architecture", "compact", "--resolution", "32", "--repeats", "1", "--warm-up", "0", "--no-naive")
    result = bench.run(_arguments(*words, "--surface-tolerance", "0"))
    assert tuple(result["speed"]["compact"]["precisions"]) == supported_precisions(torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_gpu_that_was_not_measured_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--architecture", "compact", "--resolution", "32", "--repeats", "1", "--warm-up", "0", "--no-naive")
    result = bench.run(_arguments(*words))
    assert "this machine has none" in result["not_run"]["cuda"]
    assert "No CUDA device was measured" in capsys.readouterr().out
    with pytest.raises(InputError, match="'cuda' is not available"):
        bench.run(_arguments("--device", "cuda"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--repeats", "0"), "repeats"),
        (("--warm-up", "-1"), "warm-up"),
        (("--no-naive", "--full-naive"), "contradict"),
        (("--surface-tolerance", "3"), "surface tolerance is 3 mm"),
    ],
)
def test_turns_that_make_no_sense(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        bench.run(_arguments(*words))


def test_every_stage_begins_and_ends_with_an_idle_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting, a GPU's work would be counted in the stage that first reads its result, or in none."""
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append("wait"))
    clock = speed.StageClock(torch.device("cuda"))
    with clock.stage("encode"):
        order.append("work")
    assert order == ["wait", "work", "wait"]
    assert clock.seconds["encode"] > 0
