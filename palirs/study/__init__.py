"""A study: the identity of its directory, and its open resources."""
