"""Benchmarks of the risk core: `python -m benchmarks.risk.<name>` prints a table and writes JSON."""
