"""The published networks as they were written, from their description: what the networks here are timed against."""
