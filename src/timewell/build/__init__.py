"""Point-in-time correct values: training sets, snapshots of all entities, and the tests of features."""
