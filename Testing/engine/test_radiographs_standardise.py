"""Standardisation of radiographs: what it forgets, and what it refuses."""

import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.standardise import ROBUST, standardise


def test_standardisation_forgets_exposure_and_unit_but_not_shape() -> None:
    image = np.random.default_rng(0).gamma(2.0, 1.0, (64, 64))
    coverage = np.ones((64, 64))
    first = standardise(image, coverage, ROBUST)
    assert np.allclose(standardise(image * 37.0 + 5.0, coverage, ROBUST), first, atol=1e-5)
    assert np.median(first) == pytest.approx(0.0, abs=1e-6) and first.max() <= 4.0
    assert np.ptp(np.percentile(first, [5, 95])) == pytest.approx(2.0, abs=1e-5)
    coverage[:, :10] = 0
    assert (standardise(image, coverage, ROBUST)[:, :10] == 0).all()


def test_standardisation_refuses_what_it_cannot_do() -> None:
    ones = np.ones((8, 8))
    with pytest.raises(InputError, match="constant"):
        standardise(ones, ones, ROBUST)
    with pytest.raises(InputError, match="sees nothing"):
        standardise(ones, ones * 0, ROBUST)
    with pytest.raises(InputError, match="does not know"):
        standardise(ones, ones, {"method": "magic"})
    assert standardise(ones, ones, {"method": "scale", "factor": 6.0}).max() == 6.0
