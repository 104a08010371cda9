"""Free TCP ports on loopback."""

from __future__ import annotations

import socket
from argparse import ArgumentTypeError

HOST = "127.0.0.1"


def port_number(text: str) -> int:
    """Return a TCP port written as text; raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ArgumentTypeError(f"PORT is {text!r}, expected a number from 1 to 65535")
    return int(text)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a TCP port of 127.0.0.1 at this moment."""
    with socket.socket() as probe:
        # As the servers do: a port whose last connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
