"""How long a user waits: whole `ssrkd reconstruct` processes on the bundled sample, files written."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.resource_files import sample_case_folder
from SSRKDCore.training.code_version import made_by


def measure(runs: int, resolution: int) -> dict[str, Any]:
    """Wall seconds of `runs` new processes after one that fills the disk cache, and the stages of the last one; and seconds of one that
    finds nothing compiled, as the first after an installation.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = [_run(Path(folder) / f"run{run}", resolution, {}) for run in range(runs + 1)]
        first, _ = _run(Path(folder) / "first", resolution, {"NUMBA_CACHE_DIR": str(Path(folder) / "compiled")})
    return {
        "resolution": resolution,
        "seconds": [round(value, 2) for value, _ in found[1:]],
        "first_after_installation": round(first, 2),
        "stages_of_the_last_run": found[-1][1],
    }


def _run(out: Path, resolution: int, environment: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
    """Seconds of one process that writes to `out`, and its stages. `environment` is added to this one's."""
    sample = sample_case_folder()
    command = [sys.executable, "-m", "SSRKDCore", "reconstruct", "--ap", str(sample / "ap.dcm"), "--lateral"]
    command += [str(sample / "lateral.dcm"), "--rig", str(sample / "rig.json"), "--resolution", str(resolution)]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(out), "--json"], check=True, capture_output=True, env={**os.environ, **environment}
    )
    seconds = time.perf_counter() - start
    return seconds, read_json(out / "report.json", "a reconstruction report")["timings_s"]


def main() -> None:
    """Measure and write JSON: the seconds of each run, and this machine."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    result = measure(arguments.runs, arguments.resolution)
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "load_average": os.getloadavg()[0]}
    write_json(
        arguments.out,
        {"schema": "ssrkd-cold-start/1", **made_by("make measurements"), "machine": machine, **result},
    )


if __name__ == "__main__":
    main()
