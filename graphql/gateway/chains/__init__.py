"""How far each chain has been relayed."""
