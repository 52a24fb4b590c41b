"""A stage, an evaluation and a report, each in a process of its own."""
