"""What a request costs in libraries of a thousand to a million guidelines."""
