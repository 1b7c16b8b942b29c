"""Live state: what Pub/Sub says, applied in memory and fanned out to subscribers."""
