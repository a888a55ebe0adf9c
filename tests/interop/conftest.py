"""The rig of the integration tests, and servers of other makes in front of the proxy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))

from rig import pytest_generate_tests, rig  # noqa: E402
from support import default_binary  # noqa: E402

__all__ = ["pytest_generate_tests", "rig"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "over(scheme...): ws, wss or both; see rig.py")
    config.addinivalue_line("markers", "one_worker: see rig.py")
    if not os.access(default_binary(), os.X_OK):
        raise pytest.UsageError(f"{default_binary()}: no such program; build it, or set TIDEGATE")
