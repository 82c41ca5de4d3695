"""`python -m SSRKDCore.evaluation.baselines.fit_intensity_model`: the intensity model of the SSIM baseline, from training cases."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from SSRKDCore.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Fit and write; 0, or 2 after one sentence on what was wrong."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.console import progress_bar, say
    from SSRKDCore.evaluation.baselines.intensity_samples import fit_intensity_model
    from SSRKDCore.population.shape_model import KneeShapeModel

    parser = argparse.ArgumentParser(
        description="Fit the intensity model of the SSIM baseline to labelled cases with CT."
    )
    parser.add_argument("--cases", type=Path, required=True, help="folder of `ssrkd population`; training cases only")
    parser.add_argument("--shape-model", type=Path, required=True, help="the shape model that the cases were made with")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--count", type=int, default=40, help="how many labelled cases are read (default: 40)")
    parser.add_argument("--modes", type=int, default=6, help="modes of density that are kept (default: 6)")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.count < 2 or chosen.modes < 0:
            raise InputError("At least 2 cases are needed, and modes must not be negative.")
        if chosen.out.suffix != ".npz":
            raise InputError(f"{chosen.out} must be named .npz.")
        model = KneeShapeModel.load(chosen.shape_model)
        folders = _labelled(find_cases(chosen.cases), chosen.count)
        with progress_bar("Fitting the intensity model") as progress:
            fitted = fit_intensity_model(folders, model, chosen.modes, progress)
        fitted.save(chosen.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    say(
        f"Written: {chosen.out} ({fitted.card['cases']} cases, {fitted.card['modes']} modes, "
        f"{100 * fitted.card['variance_share']:.0f} % of the variance)"
    )
    return 0


def _labelled(folders: list[Path], count: int) -> list[Path]:
    """The first cases that have a reference."""
    from SSRKDCore.cases import load_case

    found: list[Path] = []
    for folder in folders:
        if len(found) == count:
            break
        if load_case(folder).reference is not None:
            found.append(folder)
    return found


if __name__ == "__main__":
    sys.exit(main())
