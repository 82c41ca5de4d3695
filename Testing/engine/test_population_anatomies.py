"""Real legs of the anatomy folder."""

from pathlib import Path

import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.population.anatomies import read_legs


def test_real_legs_are_mirrored_to_the_right_and_excluded_by_subject(shared_data: Path) -> None:
    legs = read_legs(shared_data, ["TLEM2_CT"])
    assert "TLEM2_CT" not in {leg.subject for leg in legs} and len(legs) == 7
    for leg in legs:
        assert leg.bones["fibula"].centroid[0] < leg.bones["tibia"].centroid[0], leg.name
        assert all(surface.volume > 0 for surface in leg.bones.values())
    with pytest.raises(InputError, match="no subject NOBODY"):
        read_legs(shared_data, ["NOBODY"])
