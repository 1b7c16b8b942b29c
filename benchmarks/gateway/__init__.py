"""The gateway's benchmarks."""
