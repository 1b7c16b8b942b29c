"""evaluate_margin as a function: accounts per second through its whole shell."""
