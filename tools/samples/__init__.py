"""The animated figure of the sample data and its drawing."""
