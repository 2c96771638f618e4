"""What a run shows on the screen: short lines that a person reads; `logger.log` has the whole of it."""
