"""A published study that did not reach its aim: as stated, as it was run, and beside a recipe that works."""
