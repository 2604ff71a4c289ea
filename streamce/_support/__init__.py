"""What every layer uses. Nothing here knows a loss."""
