"""What a test's task does in the world: a row an effect, so that twice and never can be counted."""

from django.db import models


class Effect(models.Model):
    key = models.TextField(db_index=True)
    note = models.TextField(default="", blank=True)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.note}"
