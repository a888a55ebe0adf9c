"""What is shared with the integration tests: which program is under test, and whether it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))

from support import default_binary  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    if not os.access(default_binary(), os.X_OK):
        raise pytest.UsageError(f"{default_binary()}: no such program; build it, or set TIDEGATE")
