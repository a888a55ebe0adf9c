"""Checklist 70: what a scanner of another make finds at the listener."""

from __future__ import annotations

import subprocess
from xml.etree import ElementTree

import pytest
from certificates import certificates
from fronts import find
from rig import Rig, over_wss
from tls import has_tls_1_3

pytestmark = over_wss


@pytest.mark.parametrize("algorithm", ["ec", "rsa", "both"])
def test_70_sslscan(rig: Rig, algorithm: str) -> None:
    pairs = [certificates().make(f"server-{one}", algorithm=one) for one in ("ec", "rsa") if algorithm in (one, "both")]
    proxy = rig.proxy(rig.backend(), *(flag for pair in pairs for flag in pair.flags("tls")))
    command = [find("sslscan"), "--xml=-", "--no-colour", "--show-sigs", proxy.address]
    output = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    test = ElementTree.fromstring(output).find("ssltest")
    assert test is not None, output

    protocols = {f"{one.get('type')}{one.get('version')}": one.get("enabled") for one in test.iter("protocol")}
    assert {name for name, enabled in protocols.items() if enabled != "0"} == (
        {"tls1.2", "tls1.3"} if has_tls_1_3() else {"tls1.2"}
    )
    assert {"ssl2", "ssl3", "tls1.0", "tls1.1"} <= set(protocols)

    renegotiation = test.find("renegotiation")
    assert renegotiation is not None and renegotiation.get("supported") == "0"
    assert all(one.get("supported") == "0" for one in test.iter("compression"))
    beats = list(test.iter("heartbleed"))
    assert beats and all(one.get("vulnerable") == "0" for one in beats)

    ciphers = {one.get("cipher") or "": one for one in test.iter("cipher")}
    assert ciphers
    for name, cipher in ciphers.items():
        assert name.startswith("ECDHE-") or cipher.get("sslversion") == "TLSv1.3", name
        assert "-GCM-" in name or "_GCM_" in name or "POLY1305" in name, name
        assert cipher.get("strength") in ("strong", "acceptable"), name
    kinds = {name.split("-")[1] for name in ciphers if name.startswith("ECDHE-")}
    assert kinds == {"ec": {"ECDSA"}, "rsa": {"RSA"}, "both": {"ECDSA", "RSA"}}[algorithm]
    assert all(int(one.get("bits") or 0) >= 112 for one in test.iter("group"))
    weak = [one.get("name") for one in test.iter("connection-signature-algorithm") if "sha1" in (one.get("name") or "").lower()]
    assert not weak
