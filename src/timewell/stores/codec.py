"""Keys and rows as bytes: what every online store holds, whatever its make.

Keys are length-prefixed binary, so no two different keys meet; a row is a positional MessagePack array of the
features' values followed by the event times of its ``latest`` values.
"""
