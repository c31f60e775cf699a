class DemoError(Exception):
    """The demo cannot go on: says what, where, and what to do next."""
