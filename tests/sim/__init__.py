"""A simulated world around the production code: see `world`."""
