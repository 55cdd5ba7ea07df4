"""The pages, a router for each audience."""
