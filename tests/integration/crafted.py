"""TLS records made by hand: what no library sends. TLS 1.2, ECDHE, AES-128-GCM, by libcrypto."""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
import ssl
import struct
from pathlib import Path

from proxy import Proxy
from rig import Rig
from tls import client_context

HELLO_RANDOM = slice(5 + 4 + 2, 5 + 4 + 2 + 32)  # record head, message head, version
GET_TAG = 0x10  # EVP_CTRL_AEAD_GET_TAG

DATA = 23


def record(kind: int, content: bytes, version: bytes = b"\x03\x03") -> bytes:
    return bytes([kind]) + version + struct.pack(">H", len(content)) + content


def expand(secret: bytes, label: bytes, seed: bytes, count: int) -> bytes:
    """RFC 5246, section 5, with SHA-256."""
    out, a = b"", label + seed
    while len(out) < count:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + label + seed, "sha256")
    return out[:count]


class Crafted:
    """A client whose handshake is Python's, and whose records afterwards are its own."""

    def __init__(self, rig: Rig, proxy: Proxy) -> None:
        self._client = rig.dial_bare(proxy)
        self.sock, self.name = self._client.sock, self._client.name
        keys = rig.directory / f"keys{self.name}"
        context = client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM+AES128")
        context.keylog_filename = str(keys)
        self._in, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, outgoing, False, "localhost")
        heard = b""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(outgoing.read())
                piece = self.sock.recv(65536)
                heard += piece
                self._in.write(piece)
        label, ours, master = Path(keys).read_text().split("\n")[-2].split()
        assert label == "CLIENT_RANDOM"
        seed = heard[HELLO_RANDOM] + bytes.fromhex(ours)
        block = expand(bytes.fromhex(master), b"key expansion", seed, 40)
        self._key, self._salt = block[:16], block[32:36]
        self._sequence = 1  # 0 was Finished

    def seal(self, content: bytes, kind: int = DATA) -> bytes:
        """The next record."""
        number = struct.pack(">Q", self._sequence)
        self._sequence += 1
        about = number + bytes([kind]) + b"\x03\x03" + struct.pack(">H", len(content))
        return record(kind, number + aes_128_gcm(self._key, self._salt + number, about, content))

    def read(self) -> bytes:
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._in.write(self.sock.recv(65536))


crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for function in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm"):
    getattr(crypto, function).restype = ctypes.c_void_p


def aes_128_gcm(key: bytes, nonce: bytes, about: bytes, content: bytes) -> bytes:
    """Sealed content, and its tag behind it."""
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    sealed, tag = ctypes.create_string_buffer(len(content) + 16), ctypes.create_string_buffer(16)
    count = ctypes.c_int()
    cipher = ctypes.c_void_p(crypto.EVP_aes_128_gcm())
    steps = (
        crypto.EVP_EncryptInit_ex(context, cipher, None, key, nonce),
        crypto.EVP_EncryptUpdate(context, None, ctypes.byref(count), about, len(about)),
        crypto.EVP_EncryptUpdate(context, sealed, ctypes.byref(count), content, len(content)) if content else 1,
        crypto.EVP_EncryptFinal_ex(context, tag, ctypes.byref(count)),
        crypto.EVP_CIPHER_CTX_ctrl(context, GET_TAG, 16, tag),
    )
    crypto.EVP_CIPHER_CTX_free(context)
    assert all(step == 1 for step in steps), steps
    return sealed.raw[: len(content)] + tag.raw
