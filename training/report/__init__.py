"""A run as one HTML page and one Markdown file."""
