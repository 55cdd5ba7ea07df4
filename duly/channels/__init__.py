"""The ways in which a notice reaches the borrower."""
