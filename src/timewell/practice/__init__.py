"""Practice on a copy: the mini project walked through step by step, and drills of what goes wrong in production."""
