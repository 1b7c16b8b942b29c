"""Versioned messages, a module per topic family. JSON Schemas are exported to docs/events/."""
