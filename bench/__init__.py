"""Benchmarks: `python -m pytest bench` checks and times, `python -m bench.report` writes docs/performance.md."""
