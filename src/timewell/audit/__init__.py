"""The leakage lint: says of SQL, Python and notebooks whether a training row can know its future."""
