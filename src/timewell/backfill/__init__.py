"""The past of features as offline tables: computed by partitions, swapped in atomically."""
