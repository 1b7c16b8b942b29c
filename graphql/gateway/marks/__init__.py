"""Marks: the prices used."""
