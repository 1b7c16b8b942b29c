"""Accounts and escrows as the chain reports them."""
