"""`ssrkd bench` on a small case."""

from __future__ import annotations

import argparse
import json

import pytest

from SSRKDCore.commands import bench
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import to_json_text
from SSRKDCore.reconstruction import benchmark


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def test_figures_of_the_compact_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(benchmark, "NAIVE_SLICE", 3000)
    monkeypatch.setattr(benchmark, "REPETITIONS", 1)
    result = bench.run(_arguments("--architecture", "compact", "--resolution", "64"))
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
    result = bench.run(_arguments("--architecture", "compact", "--resolution", "48"))
    assert result["labels_identical"] is False
    assert result["exit_code"] == 1


def test_resolution_out_of_range() -> None:
    with pytest.raises(InputError, match="resolution"):
        bench.run(_arguments("--resolution", "7"))
