"""Servers to measure, each pair on loopback addresses of its own."""
