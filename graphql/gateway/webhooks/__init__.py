"""Webhooks: where clients receive settlement events, and what became of each."""
