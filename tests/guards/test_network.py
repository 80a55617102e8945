"""The tests' own rule: nothing leaves the machine."""

from __future__ import annotations

import socket

import pytest

from tests.support import network


def test_it_refuses_an_address_beyond_loopback():
    with socket.socket() as sock, pytest.raises(network.NetworkForbidden):
        sock.connect(("192.0.2.1", 25))
    assert network.take_violations() == ["socket.connect 192.0.2.1"]


def test_it_refuses_a_datagram_beyond_loopback():
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(network.NetworkForbidden):
        sock.sendto(b"?", ("192.0.2.1", 53))
    assert network.take_violations() == ["socket.sendto 192.0.2.1"]


def test_it_refuses_to_look_up_a_name():
    with pytest.raises(network.NetworkForbidden):
        socket.getaddrinfo("mail.example.com", 25)
    assert network.take_violations() == ["socket.getaddrinfo mail.example.com"]


def test_it_lets_loopback_through():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert network.take_violations() == []
