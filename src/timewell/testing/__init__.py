"""What is shipped to judge an engine or store: the slow oracle, random worlds, conformance suites."""
