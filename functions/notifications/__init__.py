"""Telling people and systems."""
