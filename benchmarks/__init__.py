"""What it costs and how fast it is: ``python -m benchmarks`` runs every benchmark and prints one table."""
