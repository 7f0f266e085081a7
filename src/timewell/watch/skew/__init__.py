"""Whether what is served looks like what is trained on: samples of both sides, their difference, what it likely comes from."""
