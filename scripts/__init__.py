"""Thin scripts: `python -m scripts.deploy` and `brownie run deploy` do the same as `duly deploy`."""
