"""The relay, its reading of chains, and what it is held against."""
