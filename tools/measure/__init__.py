"""What benchmark.py and gpu_check.py measure, and how."""
