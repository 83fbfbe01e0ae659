"""The arithmetic of a step: what every backend does, and those that need no kernels of ours."""
