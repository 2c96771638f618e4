"""What predict.py and ensemble.py build on: inputs, videos, key points, drawings, score files."""
