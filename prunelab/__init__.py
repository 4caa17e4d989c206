"""Neural-network pruning and recovery: every technique taught, every claim measured."""

__version__ = "0.1.0"
