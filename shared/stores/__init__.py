"""Firestore: the only package that touches it; a module per collection."""
