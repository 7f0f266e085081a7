"""Watching: how fresh the features are, and who is told when they are not."""
