"""Commands for those who measure, convert and make data, and what they share."""
