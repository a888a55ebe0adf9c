"""Checklist 72: who is believed, by tunnel, stdio and probe, and by serve of its backend; and what is said of
the others."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from backend import Backend, answer_at_end
from certificates import Pair, certificates
from rig import Rig, over_wss
from support import default_binary, sha256
from tunnel import local_end, local, start_tunnel
from wsclient import request

pytestmark = over_wss

SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
NOT_TRUSTED = "not signed by a trusted authority"
ANOTHER_NAME = "for another name"
DENIED = 76
OTHER_PIN = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def intermediate_pair(name: str, has_chain: bool) -> Pair:
    c = certificates()
    middle = c.intermediate()
    leaf = c.make("below-intermediate", signer="intermediate")
    return Pair(c.chain(f"{name}.chain", leaf.cert, middle), leaf.key) if has_chain else leaf


class Case(NamedTuple):
    """A server's certificate, and what is said of it."""

    pair: Pair
    says: str  # "": it is believed
    host: str = "localhost"


def case_of(name: str) -> Case:
    make = certificates().make
    ip = "127.0.0.1"
    cases = {
        "good name": lambda: Case(make("server"), ""),
        "good address": lambda: Case(make("server"), "", ip),
        "good wildcard": lambda: Case(make("wildcard", names="DNS:*.tidegate.test"), "", "a.tidegate.test"),
        "good rsa": lambda: Case(make("server-rsa", algorithm="rsa"), ""),
        "good chain": lambda: Case(intermediate_pair("good", True), ""),
        "self-signed": lambda: Case(make("self", signer=""), NOT_TRUSTED),
        "other authority": lambda: Case(make("stranger", signer="other"), NOT_TRUSTED),
        "intermediate missing": lambda: Case(intermediate_pair("bad", False), NOT_TRUSTED),
        "expired": lambda: Case(make("expired", days=(-20, -10)), "has expired"),
        "not yet valid": lambda: Case(make("early", days=(10, 20)), "not valid yet"),
        "wrong name": lambda: Case(make("elsewhere", names="DNS:example.org"), ANOTHER_NAME),
        "wrong address": lambda: Case(make("address", names="IP:127.0.0.2"), ANOTHER_NAME, ip),
        "name for an address": lambda: Case(make("named", names="DNS:127.0.0.1"), ANOTHER_NAME, ip),
        "address for a name": lambda: Case(make("numbered", names="IP:127.0.0.1"), ANOTHER_NAME),
        "wildcard for two labels": lambda: Case(make("wildcard", names="DNS:*.tidegate.test"), ANOTHER_NAME, "a.b.tidegate.test"),
        "wildcard for none": lambda: Case(make("wildcard", names="DNS:*.tidegate.test"), ANOTHER_NAME, "tidegate.test"),
        "name with more behind it": lambda: Case(make("longer", names="DNS:localhost.example.org"), ANOTHER_NAME),
        "no name": lambda: Case(make("nameless", names="", subject="/O=nobody"), ANOTHER_NAME),
        "common name only": lambda: Case(make("common", names="", subject="/CN=localhost"), ANOTHER_NAME),
        "address in the common name": lambda: Case(make("common-ip", names="", subject=f"/CN={ip}"), ANOTHER_NAME, ip),
        "for clients only": lambda: Case(make("clients", usage="clientAuth"), "for another use"),
    }  # fmt: skip
    assert set(cases) == set(NAMES)
    return cases[name]()


NAMES = [
    "good name", "good address", "good wildcard", "good rsa", "good chain", "self-signed", "other authority",
    "intermediate missing", "expired", "not yet valid", "wrong name", "wrong address", "name for an address",
    "address for a name", "wildcard for two labels", "wildcard for none", "name with more behind it", "no name",
    "common name only", "address in the common name", "for clients only",
]  # fmt: skip
FOR_CLIENTS = NAMES[-1]  # serve does not use such a one


def run(subcommand: str, url: str, *flags: str, given: bytes = b"") -> tuple[int, bytes, str]:
    command = [default_binary(), subcommand, "--linger", "1s", *flags, url]
    process = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    return process.returncode, process.stdout, process.stderr.decode()


def name_flags(case: Case, flag: str) -> tuple[str, list[str]]:
    """The host to dial, and what makes the certificate be compared with the case's."""
    if case.host in ("localhost", "127.0.0.1"):
        return case.host, []
    return "127.0.0.1", [flag, case.host]


# ---- tunnel, stdio, probe ----


@pytest.mark.parametrize("name", [name for name in NAMES if name != FOR_CLIENTS])
def test_72_server(rig: Rig, name: str) -> None:
    """All three commands agree; the exit status is 76, the reason one line, and no byte has left."""
    case = case_of(name)
    backend = rig.backend("tcp", answer_at_end(b"answer"))
    proxy = rig.proxy(backend, *case.pair.flags("tls"))
    host, flags = name_flags(case, "--server-name")
    url = f"wss://{host}:{proxy.address.rpartition(':')[2]}/"
    flags += ["--ca-file", certificates().ca]
    for command, output in (("probe", None), ("stdio", b"answer")):
        status, out, problems = run(command, url, *flags, given=b"secret")
        if case.says:
            assert (status, out) == (DENIED, b""), (command, problems)
            assert case.says in problems and problems.count("\n") == 1, (command, problems)
        else:
            assert (status, problems) == (0, ""), command
            assert output in (None, out)
    tunnel = start_tunnel(rig, url, *flags)
    if case.says:
        assert local_end(rig, tunnel) == "reset"
        record = tunnel.wait_failed()
        assert (record["cause"], record["at"]) == ("tls-failed", "server")
        assert case.says in record["detail"]
        assert not backend.connections
    else:
        program = local(rig, tunnel)
        program.finish()
        assert program.wait_end() == "eof" and program.kept == b"answer"
        assert tunnel.wait_closed()["cause"] == "ok"


def test_72_server_with_a_certificate_for_clients(rig: Rig) -> None:
    case = case_of(FOR_CLIENTS)
    _, address, _ = tls_backend_of(rig, case)
    status, out, problems = run("probe", address.replace("tls:", "wss:"), "--ca-file", certificates().ca)
    assert (status, out) == (DENIED, b"")
    assert case.says in problems and problems.count("\n") == 1, problems


def test_72_pins_and_insecure(rig: Rig) -> None:
    c = certificates()
    proxy = rig.proxy(rig.backend("tcp", answer_at_end(b"")))
    url = rig.url(proxy.address)
    for good in (
        ("--ca-file", c.ca),
        ("--ca-file", c.ca, "--server-name", "localhost"),
        ("--ca-file", c.ca, "--pin-sha256", c.pin()),
    ):
        status, out, problems = run("probe", url, *good)
        assert (status, problems) == (0, ""), good
        assert out.startswith(b"ok wss://")
    no_system = f"{SYSTEM_CA}: cannot be read"
    for wrong, says in {
        (): NOT_TRUSTED if Path(SYSTEM_CA).exists() else no_system,
        ("--ca-file", c.other_ca): NOT_TRUSTED,
        ("--ca-file", c.other_ca, "--pin-sha256", c.pin()): NOT_TRUSTED,
        ("--ca-file", c.ca, "--server-name", "example.org", "--pin-sha256", c.pin()): ANOTHER_NAME,
        ("--ca-file", c.ca, "--pin-sha256", OTHER_PIN): "not the pinned one",
        ("--insecure", "--pin-sha256", OTHER_PIN): "not the pinned one",
    }.items():
        status, out, problems = run("probe", url, *wrong)
        assert (status, out) == (71 if says == no_system else DENIED, b""), wrong
        assert says in problems
    for flags in (("--insecure",), ("--insecure", "--pin-sha256", c.pin())):
        status, _, problems = run("probe", url, *flags)
        assert status == 0
        assert "level=warn" in problems and "--insecure" in problems


# ---- backends ----


def tls_backend_of(rig: Rig, case: Case) -> tuple[Backend, str, list[str]]:
    """Also the address to be dialled, and flags."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(case.pair.cert, case.pair.key)
    backend = rig.backend("tls", answer_at_end(b"answer"), context=context)
    host, flags = name_flags(case, "--backend-server-name")
    return backend, f"tls://{host}:{backend.address.rpartition(':')[2]}", flags


@pytest.mark.parametrize("name", NAMES)
def test_72_backend(rig: Rig, name: str) -> None:
    """Not believed: 502, or Close 4008 for a page, and no byte has left."""
    case = case_of(name)
    backend, address, flags = tls_backend_of(rig, case)
    proxy = rig.proxy(address, "--backend-ca", certificates().ca, *flags)
    if not case.says:
        client = rig.client(proxy)
        client.send(b"question")
        client.fin()
        got = client.collect()
        assert (got.close, got.digest) == (1000, sha256(b"answer"))
        return
    client = rig.dial(proxy)
    client.raw(request("extension"))
    assert client.read_response().status == 502
    record = proxy.wait_refused()
    assert (record["cause"], record["at"]) == ("tls-failed", "backend")
    assert case.says in record["detail"]
    page = rig.client(proxy, "subprotocol")
    assert page.expect("close").number == 4008
    assert proxy.wait_closed()["cause"] == "tls-failed"
    assert all(connection.count == 0 for connection in backend.connections)


def test_72_backend_authorities(rig: Rig) -> None:
    """The system's by default, none but those of --backend-ca with it, and what --backend-insecure is worth."""
    c = certificates()
    backend, address, _ = tls_backend_of(rig, case_of("good name"))
    for flags, is_good in (
        (("--backend-ca", c.other_ca), False),
        (("--backend-ca", c.chain("both", c.other_ca, c.ca)), True),
        (("--backend-ca", c.ca, "--backend-server-name", "127.0.0.1"), True),
        (("--backend-ca", c.ca, "--backend-server-name", "example.org"), False),
        (("--backend-insecure",), True),
        ((), False),
    ):
        if not flags and not Path(SYSTEM_CA).exists():
            continue  # told at the start; the system has no authorities
        proxy = rig.proxy(address, *flags)
        client = rig.dial(proxy)
        client.raw(request())
        assert client.read_response().status == (101 if is_good else 502), flags
        warnings = [line for line in proxy.lines if "--backend-insecure" in line]
        assert bool(warnings) == ("--backend-insecure" in flags)
