"""Carriers: sockets, files, shared memory, HTTP; who the peer is; the grammar of endpoints.

A carrier moves bytes between a transport and a dialect. It knows no command, and no dialect by name.
"""
