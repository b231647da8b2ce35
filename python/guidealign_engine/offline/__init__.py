"""The offline half: trains and exports encoders, calibrates and evaluates bundles. Needs the `offline` extra.

The online half never imports it; what the two share is the bundle on disk.
"""
