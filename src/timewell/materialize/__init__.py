"""The present of online features, written to the online store."""
