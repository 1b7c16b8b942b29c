"""BigQuery: the only package that touches it."""
