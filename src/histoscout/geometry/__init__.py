"""Boxes, grids, outlines and masks: exact arithmetic without pixels."""
