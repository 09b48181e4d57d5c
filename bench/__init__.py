"""Benchmarks: figures as ratios to a floor or a peer of the same run. `python -m bench` prints them.

One module for each row group of docs/benchmarks.md. Nothing here is installed with the package.
"""
