"""Pipelines for Dataflow: the functions' own blocks, many at a time, for back-fills."""
