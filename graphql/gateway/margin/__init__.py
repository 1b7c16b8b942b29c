"""Margin: the numbers of an account at a tick, queried and live."""
