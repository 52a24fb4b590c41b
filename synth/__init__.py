"""A clean image becomes a degraded one. NumPy and OpenCV; knows no other package of patina."""
