"""What would change, as data: a folder of definitions against the registry, before anything is written."""
