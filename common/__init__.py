"""What all parts may use: files, pictures, command lines, processes, suggestions."""
