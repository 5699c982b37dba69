"""What clients can reach: the base classes and the bundled services."""
