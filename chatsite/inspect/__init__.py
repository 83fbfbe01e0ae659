"""The life of one answer, from what is stored with it: its prompt, its choices, its time."""
