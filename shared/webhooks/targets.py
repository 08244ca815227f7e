"""Where webhooks may go: never into the server's own network, unless its operator named that network."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NAT64 = ipaddress.ip_network("64:ff9b::/96")
MAX_URL = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """An address to send to: ``ip`` is one that may be reached, the name's own at this very moment."""

    secure: bool
    host: str
    port: int
    path: str
    ip: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def find_target(url: str, allowed: tuple[Network, ...]) -> Target:
    """Look the host of ``url`` up, and see that it may be sent to.

    Called when a webhook is made and again for each try: the address that was checked is the one to connect to, so
    that a name which changes its address in between leads nowhere. Every address of the name must be permitted.

    Raises:
        InvalidInput: code ``webhook_url``: it cannot be read; ``webhook_unresolved``: its host has no address;
            ``webhook_private``: an address is not public and in none of the ``allowed`` networks;
            ``webhook_insecure``: plain http to a public address.
    """
    secure, host, port, path = _parsed(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidInput("webhook_unresolved", f"The host {host!r} has no address.") from error
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    if not addresses:
        raise InvalidInput("webhook_unresolved", f"The host {host!r} has no address.")
    named = [any(_plain(address) in network for network in allowed) for address in addresses]
    for address, is_named in zip(addresses, named, strict=True):
        if not is_named and not is_public(address):
            message = f"{host!r} is at {address}, which is not public. The operator can allow its network."
            raise InvalidInput("webhook_private", message)
    if not secure and not all(named):
        raise InvalidInput("webhook_insecure", "Use https: over plain http anybody on the way reads what is told.")
    return Target(secure, host, port, path, str(addresses[0]))


def _parsed(url: str) -> tuple[bool, str, int, str]:
    usable = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        usable, host = False, ""
    if not usable or parts.scheme not in ("http", "https") or not host or parts.username is not None or port == 0:
        message = f"Give the whole address, https://HOST/PATH, without a password and up to {MAX_URL} characters."
        raise InvalidInput("webhook_url", message)
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return secure, host, port or (443 if secure else 80), path


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet at large, and not one of these dressed up as IPv6."""
    plain = _plain(address)
    return plain.is_global and not plain.is_multicast and not plain.is_reserved


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
