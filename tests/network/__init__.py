"""Networks, losses, model folders and engines."""
