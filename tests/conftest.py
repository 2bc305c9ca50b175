"""Nothing is shared by all tests but what `tests.support` holds."""
