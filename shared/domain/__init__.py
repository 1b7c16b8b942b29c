"""Pure rules on frozen dataclasses: no clock, no I/O, no Google Cloud, no HTTP."""
