"""Accounts and their positions."""
