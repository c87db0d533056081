"""Reading and writing labelled outlines."""
