"""What a cold start of each function costs before it does anything."""
