"""Machinery of the ground floor: arguments, memory and file formats, masked MLPs trained fast."""
