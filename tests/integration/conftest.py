"""Fixtures, and a word in time if there is nothing to test."""

from __future__ import annotations

import os

import pytest
from nameserver import name_server
from netns import network
from rig import deaf_tcp_address, pytest_generate_tests, rig, unused_tcp_address
from support import default_binary

__all__ = ["deaf_tcp_address", "name_server", "network", "pytest_generate_tests", "rig", "unused_tcp_address"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "over(scheme...): ws, wss or both; see rig.py")
    config.addinivalue_line("markers", "one_worker: see rig.py")
    if not os.access(default_binary(), os.X_OK):
        raise pytest.UsageError(f"{default_binary()}: no such program; build it, or set TIDEGATE")
