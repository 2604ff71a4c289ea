"""Streams that are watched while they grow: what is new in them, and what raises an alert."""
