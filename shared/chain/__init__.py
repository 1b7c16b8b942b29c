"""EVM chains: JSON-RPC, logs, feeds. The only package that knows how chains speak."""
