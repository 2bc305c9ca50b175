"""The report: Markdown and plots from the raw file of a run. `python -m benchmarks.report`, or `make bench-report`."""
