"""One style of page for what was checked, trained and measured."""
