"""What is registered: look it up, check it before it is written, lay it out."""
