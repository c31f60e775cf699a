"""One file for each guarantee; each has ``run(call)``."""
