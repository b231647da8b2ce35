"""What a user would pick instead of the engine, side by side: `python -m bench.peers --help`."""
