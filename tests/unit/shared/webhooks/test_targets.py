from __future__ import annotations

import ipaddress

import pytest

from shared.errors import InvalidInput
from shared.webhooks.targets import find_target, is_public

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 (nothing is bound)
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1/hook", "webhook_private"),
        ("https://localhost:8443/", "webhook_private"),
        ("https://[::1]/", "webhook_private"),
        ("https://2130706433/", "webhook_private"),  # 127.0.0.1 as one number
        ("https://0x7f.1/", "webhook_private"),
        ("http://1.1.1.1/", "webhook_insecure"),
        ("https://name.invalid/", "webhook_unresolved"),
        ("https://me:word@1.1.1.1/", "webhook_url"),
        ("ftp://1.1.1.1/", "webhook_url"),
        ("https:///path", "webhook_url"),
        ("https://1.1.1.1:99999/", "webhook_url"),
        ("https://1.1.1.1/a b", "webhook_url"),
        ("https://1.1.1.1/\r\nX: y", "webhook_url"),
        ("/hook", "webhook_url"),
        ("https://[1/", "webhook_url"),
        ("https://1.1.1.1/" + "a" * 1000, "webhook_url"),
    ],
)
def test_where_nothing_is_sent(url: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        find_target(url, ())
    assert caught.value.code == code


def test_a_network_that_the_operator_named() -> None:
    target = find_target("http://localhost:8080/hook?desk=1", LOOPBACK)
    assert (target.secure, target.host, target.port, target.path) == (False, "localhost", 8080, "/hook?desk=1")
    assert ipaddress.ip_address(target.ip).is_loopback
    assert target.host_header == "localhost:8080"


def test_a_public_target() -> None:
    target = find_target("https://1.1.1.1", ())
    assert (target.secure, target.port, target.path, target.ip, target.host_header) == (
        True,
        443,
        "/",
        "1.1.1.1",
        "1.1.1.1",
    )
    assert find_target("https://[2606:4700::1111]:444/x#y", ()).host_header == "[2606:4700::1111]:444"
