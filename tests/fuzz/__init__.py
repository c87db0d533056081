"""Fuzzing: corrupted files of every format, made from valid ones, have to be read or refused with an
error."""
