"""The whole platform on one machine: emulators, a chain node, every function, the gateway, sinks, a clock."""
