"""What became of each notification."""
