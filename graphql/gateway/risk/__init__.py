"""Risk: what margin requires, trigger prices, previews of trades and stress tests, at the latest tick."""
