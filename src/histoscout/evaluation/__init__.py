"""How good the regions are."""
