"""Checklist 43: programs that know nothing of WebSocket bring the same through tunnel and proxy as directly.

Those of the first half need half-close: a relay that closes both directions on the first end, or swallows it, loses
their answer or hangs.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fronts import find
from rig import Rig
from services import Service, World, python, run, stdio_command
from support import MIB, payload

LINES = b"".join(b"%06d\n" % (i * 7919 % 100_000) for i in range(100_000))
SORTED = b"".join(sorted(LINES.splitlines(keepends=True)))
BIG = payload(16 * MIB, 150)


@pytest.fixture
def world(rig: Rig) -> Iterator[World]:
    w = World(rig)
    try:
        yield w
    finally:
        w.stop()


def nc(port: int, send: bytes) -> bytes:
    """-N: half-close at the end of input."""
    return run("nc", "-N", "127.0.0.1", str(port), send=send)


def nc_waiting(port: int, send: bytes) -> bytes:
    """Without -N it says no end, and waits for the server's."""
    return run("nc", "127.0.0.1", str(port), send=send)


def ncat(port: int, send: bytes) -> bytes:
    return run("ncat", "127.0.0.1", str(port), send=send)


def socat(port: int, send: bytes) -> bytes:
    return run("socat", "-t", "30", "-", f"TCP:127.0.0.1:{port}", send=send)


CLIENTS = {"nc": nc, "ncat": ncat, "socat": socat}
all_clients = pytest.mark.parametrize("client", CLIENTS)


# ---- the server answers after the end of input ----


@all_clients
def test_43_sort(world: World, client: str) -> None:
    service = world.socat("EXEC:sort")
    assert world.same(service, lambda port: CLIENTS[client](port, b"b\na\n")) == b"a\nb\n"


@all_clients
def test_43_sort_of_much(world: World, client: str) -> None:
    service = world.socat("EXEC:sort")
    assert world.same(service, lambda port: CLIENTS[client](port, LINES)) == SORTED


@all_clients
def test_43_md5sum(world: World, client: str) -> None:
    service = world.socat("EXEC:md5sum")
    answer = world.same(service, lambda port: CLIENTS[client](port, BIG))
    assert answer == hashlib.md5(BIG).hexdigest().encode() + b"  -\n"


@pytest.mark.parametrize("front", ["nginx", "haproxy"])
def test_43_sort_behind_a_front(world: World, front: str) -> None:
    """`(echo b; echo a) | nc -N`: tunnel, front, proxy, socat, sort."""
    service = world.socat("EXEC:sort")
    assert world.same(service, lambda port: nc(port, b"b\na\n"), front) == b"a\nb\n"


def test_43_sort_200_times(world: World) -> None:
    """A race between the end and the answer would show."""
    port = world.tunnel(world.socat("EXEC:sort"))
    for i in range(200):
        assert nc(port, b"b%d\na%d\n" % (i, i)) == b"a%d\nb%d\n" % (i, i)


def test_43_sort_by_stdio(world: World) -> None:
    url = world.url(world.socat("EXEC:sort"))
    assert run(*stdio_command(url).split(), send=LINES) == SORTED


def test_43_tar_through_a_filter(world: World) -> None:
    """`tar c | nc -N` to a server that packs it and sends it back."""
    for i in range(50):
        (world.folder / f"file{i}").write_bytes(payload(i * 1000, 151))
    names = [f"file{i}" for i in range(50)]
    archive = run("tar", "c", "-C", str(world.folder), *names)
    packed = world.same(world.socat("EXEC:gzip -n"), lambda port: nc(port, archive))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        assert tar.getnames() == names
        for i, name in enumerate(names):
            member = tar.extractfile(name)
            assert member and member.read() == payload(i * 1000, 151)


# ---- the server closes on the client's end ----


def test_43_memcached(world: World) -> None:
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    service = world.service(lambda port: ["memcached", *user, "-l", "127.0.0.1", "-p", str(port), "-U", "0"])
    value = b"v" * 100_000
    text = b"set k 0 0 100000\r\n" + value + b"\r\nget k\r\nget none\r\n"
    answer = world.same(service, lambda port: nc(port, text))
    assert answer == b"STORED\r\nVALUE k 0 100000\r\n" + value + b"\r\nEND\r\nEND\r\n"


@pytest.fixture
def redis(world: World) -> Service:
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(world.folder)]
    return world.service(lambda port: ["redis-server", "--port", str(port), *options])


def test_43_redis_inline(world: World, redis: Service) -> None:
    answer = world.same(redis, lambda port: nc(port, b"PING\r\nSET a b\r\nGET a\r\n"))
    assert answer == b"+PONG\r\n+OK\r\n$1\r\nb\r\n"


def test_43_redis_cli_pipe(world: World, redis: Service) -> None:
    """50,000 commands at once; it counts the replies."""
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$6\r\nk%05d\r\n$5\r\n%05d\r\n" % (i, i) for i in range(50_000))
    answer = world.same(redis, lambda port: run("redis-cli", "-p", str(port), "--pipe", send=commands))
    assert b"errors: 0, replies: 50000" in answer
    assert world.same(redis, lambda port: run("redis-cli", "-p", str(port), "GET", "k04711")) == b"04711\n"


# ---- HTTP ----


def without_date(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"date:")]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def web_server(world: World, kind: str) -> Service:
    """Serves `big` and `small` from a folder of its own."""
    root = world.folder / "root"
    root.mkdir()
    root.chmod(0o755)
    (root / "big").write_bytes(BIG)
    (root / "small").write_bytes(BIG[:100_000])

    def command(port: int) -> list[str]:
        if kind == "python":
            return [python(), "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(root), str(port)]
        config = world.folder / "static.conf"
        config.write_text(NGINX.format(folder=world.folder, port=port, root=root))
        return ["nginx", "-c", str(config)]

    return world.service(command)


@pytest.mark.parametrize(("kind", "name"), [("python", "big"), ("python", "small"), ("nginx", "small")])
def test_43_http_by_nc(world: World, kind: str, name: str) -> None:
    """The client has said its end before the answer begins. (nginx takes that for a client gone, over plain TCP
    too, and cuts what its socket does not hold.)"""
    service = web_server(world, kind)
    text = f"GET /{name} HTTP/1.0\r\n\r\n".encode()
    answer = world.same(service, lambda port: without_date(nc(port, text)))
    assert answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
    assert answer.partition(b"\r\n\r\n")[2] == (BIG if name == "big" else BIG[:100_000])


def test_43_curl(world: World) -> None:
    service = web_server(world, "nginx")
    for flags in (["--http1.0"], ["--http1.1"], ["--http1.1", "--limit-rate", "20M"]):
        fetch = ["curl", "-sS", "--fail", "--noproxy", "*", *flags]
        assert world.same(service, lambda port: run(*fetch, f"http://127.0.0.1:{port}/big")) == BIG  # noqa: B023


# ---- the client needs the server's end ----


def test_43_daytime(world: World) -> None:
    """The server speaks, and ends; the client says nothing."""
    service = world.socat("SYSTEM:echo Sunday; sleep 0.2; echo noon")
    assert world.same(service, lambda port: nc_waiting(port, b"")) == b"Sunday\nnoon\n"


def test_43_finger(world: World) -> None:
    """A line, an answer, the server's end."""
    service = world.socat("SYSTEM:read name; echo Login\\: $name; seq 20000")
    answer = world.same(service, lambda port: nc_waiting(port, b"ada\r\n"))
    assert answer.startswith(b"Login: ada\r\n1\n") and answer.endswith(b"\n20000\n")


@pytest.mark.parametrize("way", ["directly", "tunnel"])
def test_43_mbuffer(world: World, way: str) -> None:
    """One way; the receiver is done when it sees the end."""
    source, sink = world.folder / "source", world.folder / "sink"
    source.write_bytes(BIG)
    service = world.service(lambda port: ["mbuffer", "-q", "-4", "-m", "4M", "-I", f"127.0.0.1:{port}", "-o", str(sink)])
    port = service.port if way == "directly" else world.tunnel(service)
    run("mbuffer", "-q", "-m", "4M", "-i", str(source), "-O", f"127.0.0.1:{port}")
    assert service.process.wait(30) == 0
    assert sink.read_bytes() == BIG


# ---- regression cases: much, both ways, clean ends ----


def git(folder: Path, *arguments: str) -> bytes:
    env = {"HOME": str(folder), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    return run("git", *who, *arguments, cwd=folder, env=env)


def test_43_git(world: World) -> None:
    """Clone and push."""
    work = world.folder / "work"
    work.mkdir()
    git(work, "init", "-q")
    for i in range(30):
        (work / f"file{i}").write_bytes(payload(100_000, i))
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", f"commit {i}")
    shared = world.folder / "shared"
    shared.mkdir()
    git(shared, "clone", "-q", "--bare", str(work), "project.git")
    flags = ["--export-all", "--enable=receive-pack", "--reuseaddr", "--listen=127.0.0.1"]
    service = world.service(lambda port: ["git", "daemon", *flags, f"--base-path={shared}", f"--port={port}", str(shared)])

    def clone_and_push(port: int) -> bytes:
        copy = world.folder / f"copy{port}"
        git(world.folder, "clone", "-q", f"git://127.0.0.1:{port}/project.git", copy.name)
        git(copy, "fsck", "--full", "--strict")
        log = git(copy, "log", "--format=%H")
        git(copy, "push", "-q", "origin", f"main:from-{copy.name}")
        assert git(shared / "project.git", "rev-parse", f"from-{copy.name}") == git(copy, "rev-parse", "HEAD")
        return log

    assert world.same(service, clone_and_push).count(b"\n") == 30


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_43_rsync(world: World) -> None:
    """From the daemon, and to it."""
    shared, source = world.folder / "shared", world.folder / "source"
    for folder in (shared, source):
        folder.mkdir()
        for i in range(200):
            (folder / f"file{i}").write_bytes(payload(i * 500, i))
        (folder / "big").write_bytes(BIG)
    config = world.folder / "rsyncd.conf"
    who = "uid = root\ngid = root\n" if os.getuid() == 0 else ""
    config.write_text(f"use chroot = no\n{who}[files]\npath = {shared}\nread only = no\n")
    flags = ["--daemon", "--no-detach", f"--config={config}", "--address=127.0.0.1"]
    service = world.service(lambda port: ["rsync", *flags, f"--port={port}"])

    def both_ways(port: int) -> bytes:
        url, down = f"rsync://127.0.0.1:{port}/files", world.folder / f"down{port}"
        run("rsync", "-a", f"{url}/", f"{down}/", "--exclude=up*")
        run("rsync", "-a", f"{source}/", f"{url}/up{port}/")
        assert tree(down) == tree(shared / f"up{port}") == tree(source)
        return b"equal"

    world.same(service, both_ways)


@pytest.fixture
def postgres(world: World) -> Service:
    """A database of its own, run by a user who is not root, as it demands."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("postgresql is not installed")
    as_user: list[str] = []
    data = world.folder / "data"
    data.mkdir()
    if os.getuid() == 0:
        if run("sh", "-c", "getent passwd postgres || true") == b"":
            pytest.skip("there is no user postgres, and the server refuses to run as root")
        as_user = ["runuser", "-u", "postgres", "--"]
        world.folder.chmod(0o711)
        shutil.chown(data, "postgres", "postgres")
    run(*as_user, str(programs[-1] / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-N", cwd="/")
    flags = ["-D", str(data), "-h", "127.0.0.1", "-k", "", "-F"]
    return world.service(lambda port: [*as_user, str(programs[-1] / "postgres"), *flags, "-p", str(port)], cwd="/")


def test_43_psql_copy(world: World, postgres: Service) -> None:
    """200,000 rows in, and out again."""
    rows = b"".join(b"%d\t%s\n" % (i, hashlib.md5(b"%d" % i).hexdigest().encode()) for i in range(200_000))

    def psql(port: int, sql: str, send: bytes = b"") -> bytes:
        where = f"host=127.0.0.1 port={port} user=tester dbname=postgres sslmode=disable"
        return run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, where, send=send)

    def in_and_out(port: int) -> bytes:
        psql(port, f"CREATE TABLE t{port} (n int, hash text)")
        psql(port, f"COPY t{port} FROM STDIN", rows)
        return psql(port, f"COPY (SELECT * FROM t{port} ORDER BY n) TO STDOUT")

    run("sh", "-c", f"for i in $(seq 100); do pg_isready -q -h 127.0.0.1 -p {postgres.port} && exit; sleep 0.1; done; exit 1")
    assert world.same(postgres, in_and_out) == rows


def test_every_program_is_here() -> None:
    """Skips are for machines without the packages; scripts/deps installs them."""
    missing = [p for p in ("nc", "ncat", "socat", "memcached", "redis-server", "mbuffer", "rsync", "git") if not shutil.which(p)]
    if missing:
        pytest.skip(f"not installed, and so not tested: {' '.join(missing)}")
    assert find("nc")
