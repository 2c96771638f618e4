"""Training and evaluation; it knows no model and no reader."""
