"""Networks of RGB clips."""
