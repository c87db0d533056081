"""Networks: built, saved, opened as engines."""
