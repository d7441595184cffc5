"""DHCPv4 and DHCPv6 servers that are managed while they serve."""
