"""The public names of `patina`, a file for each group. Thin: they take what a user gives, and call the packages."""
