"""What tests share: a real Redis, and the whole site."""
