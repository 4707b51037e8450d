"""The address of the client, also if proxies in front pass it on in `X-Forwarded-For`."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def sender(peer: str, forwarded_for: Sequence[str], trusted: tuple[Network, ...]) -> str:
    """Return the address of the client: the last one in the headers that is not a trusted proxy's, else `peer`.

    Args:
        peer: the address at the other end of the connection.
        forwarded_for: the `X-Forwarded-For` headers in their order. A proxy appends the address of its client to
            the last header, or adds a header; IIS appends the port as well.
        trusted: the networks of the proxies whose headers are believed.

    """
    if not forwarded_for:
        return peer
    address = peer
    hops = ",".join(forwarded_for).split(",")
    while belongs(address, trusted) and hops:
        hop = hops.pop().strip()
        claimed = _parse(hop) or _parse(_without_port(hop))
        if claimed is None:
            break
        address = str(claimed)
    return address


def belongs(address: str, networks: tuple[Network, ...]) -> bool:
    """Return whether `address` is in one of `networks`. An IPv4 address mapped to IPv6 counts as IPv4."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def _without_port(hop: str) -> str:
    """Return the address in `192.0.2.1:443`, `[2001:db8::1]:443` or `[2001:db8::1]`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0]


@lru_cache(maxsize=4096)
def _parse(address: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
