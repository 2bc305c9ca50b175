"""`make bench-rescale`: what growing and shrinking cost readers, and what a second copy costs writers."""
