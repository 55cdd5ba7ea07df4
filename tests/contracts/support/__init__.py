"""What the tests of the contracts share: a clock, offers and their signatures, reverts, an oracle."""
