"""The command line: `raycache up`, `status`, `get` and so on.

What lives here: reading arguments, calling the launch API, and printing what it answers, for people (`output`) or as
JSON. `main` turns every expected failure into one line on standard error. What does not: any work of its own: Ray and
the clusters are reached through `backend` alone, which tests replace.
"""
