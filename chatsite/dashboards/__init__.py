"""Pages over metrics, chat and catalog."""
