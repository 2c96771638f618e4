"""Golden vectors: results of the authors' networks, and how they are read."""
