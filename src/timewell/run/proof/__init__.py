"""The proof that features are the same offline and online: generated cases, in a scratch copy of their definitions."""
