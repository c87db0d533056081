"""Which slides, whose, and who is kept apart for testing."""
