"""Active learning: the loop, exploration, and the errors it is judged by."""
