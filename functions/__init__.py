"""The deployed functions: one file each, the file name is the entry point."""
