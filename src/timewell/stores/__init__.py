"""The contracts of the back ends, and the data that passes through them."""
