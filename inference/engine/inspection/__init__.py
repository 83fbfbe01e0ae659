"""A look inside the model at one prefix, beside the requests that run."""
