"""Pub/Sub: the only package that touches it."""
