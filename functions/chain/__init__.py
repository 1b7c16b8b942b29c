"""Reading chains."""
