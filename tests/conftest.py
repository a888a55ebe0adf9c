"""The order of the tests."""

from __future__ import annotations

import pytest

STRIDE = 48


def shares_a_server(item: pytest.Item) -> bool:
    """With its neighbours, in a fixture of the module."""
    definitions = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
    return any(fixture[-1].scope == "module" for fixture in definitions)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """xdist gives each worker runs of neighbours. Slow tests stand together in their files: dealt out like
    cards, no worker has all of them, for which the others would wait at the end (it was half the time)."""
    together = [item for item in items if shares_a_server(item)]
    alone = [item for item in items if not shares_a_server(item)]
    items[:] = together + [item for i in range(STRIDE) for item in alone[i::STRIDE]]
