"""Margin over time, from the warehouse."""
