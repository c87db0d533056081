"""From a slide and a model to regions."""
