"""Everything the functions and the gateway share; see ARCHITECTURE.md for the import arrows."""
