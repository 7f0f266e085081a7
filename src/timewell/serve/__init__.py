"""Feature vectors for requests."""
