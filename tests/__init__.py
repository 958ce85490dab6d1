"""Tests that mirror the package; `rounding` is what several of them share."""
