"""What every function's shell shares: triggers, error policy, logging, tracing, the clock."""
