"""`python -m SSRKDCore` is `ssrkd`."""

from __future__ import annotations

import sys

from SSRKDCore.cli import main

sys.exit(main())
