"""Broken files of every annotation format, made from sound ones: each must be read or refused, nothing else."""
