"""Real equipment for the tests: processes, databases, scenes, a farm; and the one fake, another machine."""
