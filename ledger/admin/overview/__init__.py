"""The overview: what ran, how long it took, what waits for a person.

view      the page, for everybody who may view executions
ranges    which time it shows, as a form
figures   the SQL behind it
charts    the same figures as pictures, where pygal is installed
"""

from .view import Overview

__all__ = ["Overview"]
