from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from .fields import currency_field, money_field
from .payslip import Payslip


class Payment(models.Model):
    """Net pay on its way to the employee."""

    class Status(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"

    payslip = models.OneToOneField(Payslip, models.PROTECT, related_name="payment")
    amount = money_field()
    currency = currency_field()
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)
    bank_key = models.UUIDField(
        null=True,
        editable=False,
        help_text="The idempotency key it was first sent with, and is sent with ever after.",
    )
    bank_iban = models.CharField(
        max_length=34,
        blank=True,
        db_default="",
        editable=False,
        help_text="The account it was first sent to with that key: the bank takes no other for it.",
    )
    bank_number = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="The bank's number of the booking."
    )
    chased_at = models.DateTimeField(
        null=True, editable=False, help_text="When it was last published again by itself."
    )

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(name="payment_is_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="payment_sent_has_a_time",
                condition=Q(status="pending", sent_at=None)
                | Q(status="sent", sent_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"Payment {self.pk}"
