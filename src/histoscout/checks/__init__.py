"""Before anything is learnt: can everything be read, do outlines fit the tissue, does anything leak."""
