"""Networks of heat maps, and of RGB and pose."""
