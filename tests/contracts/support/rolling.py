"""Moments in one word, as the library `Rolling` keeps them."""

LONG_AGO = 2**20 - 1


def word_of(moments, size):
    """The newest in 32 bits; of the others, in 20 each, how long before it they were. Newest first."""
    newest, *earlier = moments[:size]
    ages = [min(newest - moment, LONG_AGO) for moment in earlier]
    ages += [LONG_AGO] * (size - 1 - len(ages))
    return newest | sum(age << 32 + 20 * n for n, age in enumerate(ages))
