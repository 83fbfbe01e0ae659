"""Conversations and messages; actions.py is the only writer."""
