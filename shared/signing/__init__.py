"""Signers: whoever can sign a transaction's hash for an address, here or in Cloud KMS."""
