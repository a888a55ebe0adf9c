"""Checklist 67: certificates of a running proxy."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path

from certificates import Certificates
from rig import Rig, over_wss
from support import MIB, dial, payload, sha256

pytestmark = over_wss


def test_67_reload(rig: Rig, tmp_path: Path) -> None:
    """SIGHUP: a new certificate for new connections; a bad one changes nothing; open ones go on."""
    old, new = Certificates(), Certificates()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for target, source in ((cert, old.cert), (key, old.key)):
        target.write_bytes(Path(source).read_bytes())
    backend = rig.backend()
    proxy = rig.proxy(backend, "--tls-cert", str(cert), "--tls-key", str(key))

    def is_served_by(authority: Certificates) -> bool:
        try:
            context = ssl.create_default_context(cafile=authority.ca)
            with context.wrap_socket(dial(proxy.address), server_hostname="localhost"):
                return True
        except ssl.SSLCertVerificationError:
            return False

    client = rig.dial(proxy, "extension", context=ssl.create_default_context(cafile=old.ca))
    client.handshake()
    connection = backend.accept()
    cert.write_bytes(Path(new.cert).read_bytes())
    proxy.signal(signal.SIGHUP)
    record = proxy.wait("not reloaded")
    assert "is not that of the first certificate" in record["detail"]
    assert is_served_by(old)
    key.write_bytes(Path(new.key).read_bytes())
    proxy.signal(signal.SIGHUP)
    proxy.wait("reloaded")
    assert is_served_by(new) and not is_served_by(old)
    client.send(payload(MIB, 11))
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.digest == sha256(payload(MIB, 11))
    connection.finish()
    assert client.collect().close == 1000
