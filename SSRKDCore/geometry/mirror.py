"""The mirror between right and left knees."""

from __future__ import annotations

import numpy as np

#: (4, 4) LPS mm: x changes its sign, so that a right knee becomes a left one and back. Surfaces and rigs take it by `transformed`.
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
