"""Protocols without I/O: bytes in, events and bytes out. The edges own the sockets."""
