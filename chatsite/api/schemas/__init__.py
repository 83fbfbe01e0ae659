"""What goes over the wire: pydantic for what comes in, typed dicts for what goes out."""
