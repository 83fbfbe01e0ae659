"""What can be chatted with, and how it samples."""
