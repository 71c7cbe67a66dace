"""What a model is: architecture, weights, graphs, files."""
