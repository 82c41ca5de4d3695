"""Names that load their module on first use, so that `ssrkd --help` never pays for torch or VTK."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attach(
    package: str, submodule_of: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Give a package's `__getattr__`, `__dir__` and `__all__` for names defined in its submodules.

    Parameters
    ----------
    package: the package's `__name__`.
    submodule_of: public name -> submodule that defines it.
    """

    def __getattr__(name: str) -> Any:
        if name not in submodule_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{submodule_of[name]}"), name)

    def __dir__() -> list[str]:
        return sorted(submodule_of)

    return __getattr__, __dir__, sorted(submodule_of)
