"""The models that can be chatted with, and the presets they are sampled by."""
