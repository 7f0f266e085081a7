"""One folder or file per engine; they never import each other, and nothing in the core imports them by name."""
