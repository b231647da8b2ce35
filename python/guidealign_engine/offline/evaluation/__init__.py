"""Measures bundles on judged inputs, and calibrates their thresholds."""
