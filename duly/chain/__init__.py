"""The chain: networks, compiler, contracts, sending, reading."""
