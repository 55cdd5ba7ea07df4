"""What is kept off the chain: the read model and the contact vault."""
