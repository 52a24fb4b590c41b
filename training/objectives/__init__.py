"""What is learned: the losses of a stage."""
