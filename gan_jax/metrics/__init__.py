"""Numbers: pure functions of samples or features."""
