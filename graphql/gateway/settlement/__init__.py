"""Settlement commands: what clients ask us to do on chain."""
