"""What must be made, and why?"""
