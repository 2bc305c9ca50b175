"""The demo: Ray tasks that read a real database through the cache, with a live display.

What lives here: the database and its question (`database`), which question comes next (`workload`), what a reader
does with it (`reader`), counting and latencies (`tally`), the Ray job around them (`job`) and what is shown
(`display`). What does not: the cache itself. `database`, `workload`, `reader`, `tally` and `display` know no Ray.
"""
