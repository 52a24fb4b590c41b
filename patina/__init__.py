"""Image-text-degradation datasets for image restoration, and the models that are trained on them."""

__version__ = "0.1.0"
