"""What make_samples.py draws."""
