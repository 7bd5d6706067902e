"""The render node: takes orders on /hpc and runs one renderer at a time. `app` puts it together."""
