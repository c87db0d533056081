"""Synthetic slides that ship with the package."""
