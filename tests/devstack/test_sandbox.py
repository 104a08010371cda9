"""The sandbox that the commands start."""

from __future__ import annotations

import socket
from pathlib import Path

from devstack.sandbox import Sandbox


def test_it_has_the_address_it_had_before_unless_somebody_else_has_taken_it(tmp_path: Path) -> None:
    """The ledger takes another address for another account, to which nothing was delivered yet."""
    addresses = []
    for _ in range(2):
        sandbox = Sandbox(tmp_path)
        sandbox.start()
        addresses.append(sandbox.url)
        sandbox.stop()
    assert addresses[0] == addresses[1]
    with socket.create_server(("127.0.0.1", int(addresses[0].rpartition(":")[2]))):
        sandbox.start()
        assert sandbox.url != addresses[0]
        sandbox.stop()
