"""Statuses and flags of a loss. Both fit one byte: the status in the lower 4 bits, the flags above."""
