"""Reading slides at any resolution."""
