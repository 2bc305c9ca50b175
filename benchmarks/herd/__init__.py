"""`make bench-herd`: what loading through the cache costs and saves, beside what people use today."""
