"""Relaying a chain's events: looking, reading, committing, taking back, reading again."""
