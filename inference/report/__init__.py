"""The report of a test or of a fusion: one html file that opens anywhere and loads nothing."""
