"""What any part may use: files, command lines, processes."""
