"""Times samepad beside what people use instead: see README.md in this folder."""
