"""Delivery-versus-payment escrows."""
