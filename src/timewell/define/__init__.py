"""What a feature is: inert, validated data, and its one canonical form."""
