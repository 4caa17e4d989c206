"""Fast training: convolutions in the right format; masked MLPs, alone or many at once."""
