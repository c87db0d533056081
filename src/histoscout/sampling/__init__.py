"""Where training looks, and what it sees there: windows to pictures and masks."""
