"""The guard against other hosts is in place."""

from __future__ import annotations

import socket

import pytest

from tests.conftest import OutsideAddress


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_other_hosts_are_out_of_reach(address: tuple[object, ...]) -> None:
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family) as probe, pytest.raises(OutsideAddress):
        probe.connect(address)


def test_this_host_is_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
