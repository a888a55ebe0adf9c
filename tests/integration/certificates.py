"""Authorities and certificates for tests, made with openssl when they are first asked for."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

NAMES = "DNS:localhost,IP:127.0.0.1"

# `openssl ca` and not `openssl req -x509`: it can date a certificate at will, on Debian 12 too. Python
# 3.13 asks for all the extensions that RFC 5280 does.
CONFIG = """
[req]
distinguished_name = dn
[dn]
[ca]
default_ca = here
[here]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
email_in_dn = no
[any]
commonName = optional
organizationName = optional
"""

AUTHORITY = """
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

LEAF = """
basicConstraints = critical,CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class Pair(NamedTuple):
    """A certificate with what must be sent along, and its key: two files."""

    cert: str
    key: str

    def flags(self, of: str) -> list[str]:
        """`of`: tls, client or backend."""
        return [f"--{of}-cert", self.cert, f"--{of}-key", self.key]


class Certificates:
    """Two authorities, of which tests trust the first, and what they have signed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-tls-")
        self._made: dict[tuple[object, ...], Pair] = {}
        Path(self.path("index")).touch()
        Path(self.path("config")).write_text(CONFIG.format(folder=self._folder.name))
        self.ca = self.make("ca", signer="", extensions=AUTHORITY, subject="/CN=test authority").cert
        self.cert, self.key = self.make("server")

    @property
    def other_ca(self) -> str:
        """The authority that nobody trusts."""
        return self.make("other", signer="", extensions=AUTHORITY, subject="/CN=other authority").cert

    def path(self, name: str) -> str:
        return str(Path(self._folder.name) / name)

    def make(
        self,
        name: str,
        *,
        signer: str = "ca",
        names: str = NAMES,
        subject: str = "/CN=server",
        days: tuple[int, int] = (-1, 30),
        algorithm: str = "ec",
        usage: str = "",
        extensions: str = LEAF,
    ) -> Pair:
        """The pair that is all of this, made once. `signer`: the name of an authority, "" for itself.
        `days`: from when and until when, from today on."""
        wanted = (name, signer, names, subject, days, algorithm, usage, extensions)
        if wanted in self._made:
            return self._made[wanted]
        if any(name == other[0] for other in self._made):  # two tests, two meanings
            name = f"{name}-{len(self._made)}"
        pair = Pair(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        extensions += f"subjectAltName = {names}\n" if names and extensions == LEAF else ""
        extensions += f"extendedKeyUsage = {usage}\n" if usage else ""
        Path(self.path(f"{name}.ext")).write_text(extensions)
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        if algorithm == "rsa":
            kind = ["-newkey", "rsa:2048"]
        request = self.path(f"{name}.csr")
        self._openssl("req", "-new", *kind, "-nodes", "-subj", subject, "-keyout", pair.key, "-out", request)
        begin, end = (datetime.now(timezone.utc) + timedelta(days=day) for day in days)
        if signer == "other":
            assert self.other_ca
        by = ["-cert", self.path(f"{signer}.pem"), "-keyfile", self.path(f"{signer}.key")]
        if not signer:
            by = ["-selfsign", "-keyfile", pair.key]
        self._openssl(
            "ca", "-batch", "-notext", "-preserveDN", *by, "-in", request, "-out", pair.cert, "-extfile", self.path(f"{name}.ext"),
            "-startdate", begin.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ"),
        )  # fmt: skip
        self._made[wanted] = pair
        return pair

    def intermediate(self) -> str:
        """The certificate of an authority that the trusted one has signed; its name is "intermediate"."""
        return self.make("intermediate", extensions=AUTHORITY, subject="/CN=intermediate authority").cert

    def chain(self, name: str, *certificates: str) -> str:
        """One file with all of these, in that order."""
        path = self.path(name)
        Path(path).write_text("".join(Path(each).read_text() for each in certificates))
        return path

    def _openssl(self, command: str, *arguments: str) -> None:
        whole = ["openssl", command, "-config", self.path("config"), *arguments]
        result = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, f"{' '.join(whole)}\n{result.stderr}"

    def serve_flags(self) -> list[str]:
        return ["--tls-cert", self.cert, "--tls-key", self.key]

    def pin(self) -> str:
        """What --pin-sha256 wants."""
        script = (
            f"openssl x509 -in {self.cert} -pubkey -noout | openssl pkey -pubin -outform der"
            " | openssl dgst -sha256 -binary | openssl base64"
        )
        return subprocess.run(script, shell=True, check=True, capture_output=True, text=True).stdout.strip()


@functools.cache
def certificates() -> Certificates:
    """Those of this process, which most tests share."""
    return Certificates()
