"""What does a dataset look like? Checks, galleries, differences."""
