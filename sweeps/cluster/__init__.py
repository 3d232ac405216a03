"""A cluster from outside: what `sweeps submit --cluster` and its like do before they are there."""
