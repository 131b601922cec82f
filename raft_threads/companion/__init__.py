"""Beside the paper: its figures, played; its rules as data, each with the function that is the rule and its tests."""
