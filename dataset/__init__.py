"""What the data scripts write and the readers read."""
