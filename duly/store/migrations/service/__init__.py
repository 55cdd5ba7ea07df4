"""Revisions, one after the other; see `duly.store.migrations`."""
