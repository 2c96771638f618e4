"""Reference vectors."""
