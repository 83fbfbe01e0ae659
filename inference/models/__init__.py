"""Models: getting them, loading them, and what they are made of.

`describe` and `prepare` need no torch to be imported; loading does.
"""
