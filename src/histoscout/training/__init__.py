"""From a cohort and a recipe to a model folder."""
