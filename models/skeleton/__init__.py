"""Networks of skeletons."""
