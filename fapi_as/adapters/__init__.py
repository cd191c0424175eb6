"""The outside world: database, keys, network, clock, web framework."""
