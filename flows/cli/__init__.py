"""The command `patina`: one file for each group of commands; `main` holds the table of them."""
