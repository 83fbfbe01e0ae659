"""Made-up requests and conversations, to look at pages and to time them. Nothing is measured."""
