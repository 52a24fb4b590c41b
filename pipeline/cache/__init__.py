"""What was found before? SQLite files that may be lost at any time."""
