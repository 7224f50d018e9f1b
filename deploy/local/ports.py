"""Loopback ports that stay ours while a server restarts."""

import errno
import random
import socket

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on.

    It lies below the range from which the kernel takes ports for outgoing connections. A port of that range can be
    taken by a client while its server is down: even by the very client that tries to reconnect, which then talks to
    itself and keeps the server from coming back.
    """
    for _ in range(200):
        port = random.randint(_LOWEST, _HIGHEST)
        if is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free loopback port found between {_LOWEST} and {_HIGHEST}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
