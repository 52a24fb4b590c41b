"""What is kept of a training? Models, states to go on from, and the files of a stage's folder."""
