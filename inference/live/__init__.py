"""Streams: a camera, a network address or a growing file, predicted while it runs."""
