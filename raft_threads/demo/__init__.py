"""The demo: stories that real servers play, each with the section of the paper to read beside it."""
