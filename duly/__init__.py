"""Duly: a lending ledger that reminds the borrower, and nobody else."""
