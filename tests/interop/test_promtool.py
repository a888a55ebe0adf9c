"""promtool, which knows the conventions of Prometheus, about our metrics."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from certificates import certificates
from rig import Rig
from status import watched
from wsclient import CARRIERS

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian package prometheus)")
def test_promtool_check_metrics(rig: Rig) -> None:
    backend = rig.backend()
    proxy, status = watched(rig, backend, *certificates().serve_flags())
    rig.dial_bare(proxy).raw(b"no TLS\r\n\r\n")
    proxy.wait("refused")
    text = status.get("/metrics").body
    result = subprocess.run([str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b""), result


def test_promtool_check_metrics_of_connections(rig: Rig) -> None:
    """With something of everything in it."""
    if PROMTOOL is None:
        pytest.skip("no promtool here (Debian package prometheus)")
    backend = rig.backend()
    proxy, status = watched(rig, backend)
    for carrier in CARRIERS:
        client, connection = rig.pair(proxy, backend, carrier)
        connection.finish()
        client.read_until("close" if carrier == "plain" else "fin")
        client.reset()
        proxy.wait("closed")
    text = status.get("/metrics").body
    result = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b""), result
