"""Which photographs show the same scene on two sides of a split?"""
