"""Tests of the engines: pure ones as tables, the rest with the real renderers."""
