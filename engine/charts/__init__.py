"""What VisualDL shows of a run: which chart has which number, and by what runs are compared."""
