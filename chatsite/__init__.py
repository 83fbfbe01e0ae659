"""The Django project: everything a person or a client sees, and all that is stored."""
