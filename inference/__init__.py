"""The transformer side of chatsite. Never imports Django or chatsite."""
