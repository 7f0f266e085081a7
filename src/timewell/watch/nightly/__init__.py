"""The nightly comparison: what is read most, offline against online, as a short message and a page."""
