"""What predict.py stands on: inputs, videos, key points, drawings."""
