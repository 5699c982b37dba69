"""Everything that is measured: Snorky's own servers, its peers, and the floor in C.

Knows how each is installed and which command starts it. Leaves starting and measuring to the
benchmarks, and what a server does to its program in servers/.

Nothing is installed outside benchmarks/.build and benchmarks/node_modules, nothing needs root,
and what has been installed is not installed again until what it is made from changes. As a program,
it prepares all of them and says which are missing, and why.
"""

import argparse
import hashlib
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import debian
import harness
from harness import BUILD, HERE, BenchmarkError, find_tool, run_tool

SERVERS = HERE / "servers"
NGINX = ("nginx", "libnginx-mod-nchan")
CENTRIFUGE = (
    "golang-go",
    "golang-github-centrifugal-centrifuge-dev",
    # What the package of Centrifuge needs and does not name.
    "golang-github-centrifugal-protocol-dev",
    "golang-github-fzambia-eagle-dev",
    "golang-github-igm-sockjs-go-dev",
    "golang-github-mna-redisc-dev",
)


@dataclass(frozen=True)
class Peer:
    """A server that can be measured: how it is installed, started and spoken to."""

    name: str
    title: str
    dialect: str
    """What the load generator has to speak with it."""
    path: str
    """Where subscribers connect; $c stands for the channel's number where each has its own."""
    calls: bool
    """Whether it answers calls (echo), besides subscriptions and publications."""
    prepare: Callable[[], Sequence[str]]
    """Installs what is missing and returns the command that starts it.

    Raises BenchmarkError with the reason where it cannot be installed.
    """
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the command is started with, besides ours."""


def ours(program: str) -> Callable[[], Sequence[str]]:
    """A server that runs in the environment of the benchmarks."""
    return lambda: [sys.executable, str(SERVERS / program)]


def in_c(program: str) -> Callable[[], Sequence[str]]:
    return lambda: [str(harness.build(f"servers/{program}"))]


def of_npm(program: str) -> Callable[[], Sequence[str]]:
    """A server of npm packages, as package-lock.json names them."""

    def prepare() -> Sequence[str]:
        node = find_tool("node")
        stamp = HERE / "node_modules" / ".recipe"
        recipe = recipe_of([HERE / "package-lock.json"])
        if not stamp.exists() or stamp.read_text() != recipe:
            run_tool(["npm", "ci", "--no-audit", "--no-fund"])  # in our directory
            stamp.write_text(recipe)
        return [node, str(SERVERS / program)]

    return prepare


def of_pypi(program: str) -> Callable[[], Sequence[str]]:
    """A server of the Python packages in requirements.txt, in an environment of their own."""

    def install(directory: Path) -> None:
        run_tool([sys.executable, "-m", "venv", str(directory)])
        python = str(directory / "bin" / "python")
        requirements = str(HERE / "requirements.txt")
        run_tool([python, "-m", "pip", "install", "--only-binary=:all:", "-q", "-r", requirements])

    def prepare() -> Sequence[str]:
        recipe = recipe_of([HERE / "requirements.txt"], sys.executable, platform.python_version())
        environment = made_once("peers", recipe, install)
        return [str(environment / "bin" / "python"), str(SERVERS / program)]

    return prepare


def nchan() -> Sequence[str]:
    def install(directory: Path) -> None:
        debian.unpack(directory, NGINX)
        module = directory / "usr/lib/nginx/modules/ngx_nchan_module.so"
        # It was compiled with an absolute path for messages on disk, which nginx makes when it
        # starts; the directive that changes it (nchan_message_temp_path) is always refused as a
        # duplicate. A path of the same length, below the prefix, needs no root.
        code, usual = module.read_bytes(), b"/var/lib/nginx/body"
        module.write_bytes(code.replace(usual, b"nchan_message_store"))

    unpacked = made_once("nginx", recipe_of([Path(debian.__file__)], *NGINX), install)
    libraries = [*unpacked.glob("lib/*-linux-*"), *unpacked.glob("usr/lib/*-linux-*")]
    return [
        *ours("nchan_pubsub.py")(),
        str(unpacked / "usr/sbin/nginx"),
        str(unpacked / "usr/lib/nginx/modules/ngx_nchan_module.so"),
        str(BUILD / "nginx-files"),
        *(["--libraries", ":".join(map(str, libraries))] if libraries else []),
    ]


def centrifuge() -> Sequence[str]:
    source = SERVERS / "centrifuge_pubsub.go"

    def install(directory: Path) -> None:
        sources = directory / "sources"
        sources.mkdir()
        versions = debian.unpack(sources, CENTRIFUGE, only="golang-")
        version = versions["golang-github-centrifugal-centrifuge-dev"]
        settings = {
            "GOROOT": sources / "usr/lib/go",
            "GOPATH": sources / "usr/share/gocode",
            "GOCACHE": directory / "cache",
            "GO111MODULE": "off",  # packages as they lie there, nothing from elsewhere
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
        program = str(directory / "centrifuge_pubsub")
        go = [str(sources / "usr/lib/go/bin/go"), "build", "-ldflags", f"-X main.version={version}"]
        assignments = [f"{name}={value}" for name, value in settings.items()]
        run_tool(["env", *assignments, *go, "-o", program, str(source)])
        shutil.rmtree(sources)  # hundreds of megabytes, for which 10 s of downloading are cheap
        shutil.rmtree(directory / "cache")

    recipe = recipe_of([source, Path(debian.__file__)], *CENTRIFUGE)
    return [str(made_once("centrifuge", recipe, install) / "centrifuge_pubsub")]


def recipe_of(files: Iterable[Path], *words: str) -> str:
    """What something is made from, as one line: it is made again when the line changes."""
    parts = [*words, *(file.read_text() for file in files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def made_once(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """A directory in .build, filled by ``make`` when there is none made by this recipe."""
    made = BUILD / name
    stamp = made / ".recipe"
    if stamp.exists() and stamp.read_text() == recipe:
        return made
    unfinished = BUILD / f"{name}.{os.getpid()}"
    unfinished.mkdir(parents=True)
    try:
        make(unfinished)
        (unfinished / ".recipe").write_text(recipe)
        shutil.rmtree(made, ignore_errors=True)
        unfinished.rename(made)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"
PURE_PYTHON = {"SNORKY_PURE_PYTHON": "1"}
ONE_CORE = {"GOMAXPROCS": "1"}
"""What Go chooses by itself on a core of its own; said, so that nobody has to know that."""

PEERS = {
    peer.name: peer
    for peer in (
        Peer("snorky", "Snorky", "snorky", "/ws", True, ours("snorky_serve.py")),
        Peer(
            "snorky-pure",
            "Snorky, pure Python",
            "snorky",
            "/ws",
            True,
            ours("snorky_serve.py"),
            PURE_PYTHON,
        ),
        Peer(
            "tornado-door", "Snorky through Tornado", "snorky", "/", True, ours("snorky_pubsub.py")
        ),
        Peer("asgi", "Snorky in ASGI", "snorky", "/ws", True, ours("snorky_asgi.py")),
        Peer("tornado", "Tornado", "snorky", "/ws", True, ours("tornado_pubsub.py")),
        Peer("ws", "ws", "snorky", "/ws", True, of_npm("ws_pubsub.mjs")),
        Peer("socketio", "Socket.IO", "socketio", SOCKET_IO, True, of_npm("socketio_pubsub.mjs")),
        Peer(
            "centrifuge",
            "Centrifuge",
            "centrifuge",
            "/connection/websocket",
            True,
            centrifuge,
            ONE_CORE,
        ),
        Peer("nchan", "nchan", "nchan", "/sub/c$c", False, nchan),
        Peer(
            "python-socketio",
            "python-socketio",
            "socketio",
            SOCKET_IO,
            True,
            of_pypi("python_socketio_pubsub.py"),
        ),
        Peer("channels", "Channels", "snorky", "/ws", True, of_pypi("channels_pubsub.py")),
        Peer("limit", "limit", "snorky", "/", True, in_c("limit_pubsub.c")),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or of: {', '.join(PEERS)}")
    names = parser.parse_args().names or PEERS
    if unknown := set(names) - set(PEERS):
        parser.error(f"expected some of {', '.join(PEERS)}, got {', '.join(unknown)}")
    rows = [("name", "versions", "state")]
    for name in names:
        print(f"preparing {name} ...", file=sys.stderr, flush=True)
        rows.append((name, *state_of(PEERS[name])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    sys.exit(any(state != "ready" for _, _, state in rows[1:]))


def state_of(peer: Peer) -> tuple[str, str]:
    """Its versions, as it tells them itself, and "ready" or why it is missing."""
    try:
        server = harness.Server(peer.title, peer.prepare(), peer.environment)
        with harness.running(server, harness.two_cores()[0]) as running:
            versions = running.versions
    except BenchmarkError as error:
        return "", "missing: " + textwrap.shorten(str(error), 400, placeholder=" ...")
    return ", ".join(f"{part} {version}" for part, version in versions.items()), "ready"


if __name__ == "__main__":
    main()
