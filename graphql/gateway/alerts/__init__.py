"""Margin transitions that were announced."""
