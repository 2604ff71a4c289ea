"""What the stages say of a loss in one byte: a status, and flags above it."""
