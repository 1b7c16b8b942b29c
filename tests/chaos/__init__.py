"""Kills, duplicates, reordering and failing nodes; run with ``make chaos``."""
