"""Chaos of the chain's side: outages, lies, reorganisations and crashes, and what came of every event."""
