"""Node files: what makes a node itself, kept as trees that are laid over the image at boot."""
