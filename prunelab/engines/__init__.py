"""Fast training of masked fully connected networks, one or many at once."""
