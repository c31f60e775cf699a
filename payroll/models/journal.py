import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from .fields import currency_field, money_field
from .payment import Payment
from .payslip import Payslip


class Account(models.TextChoices):
    WAGES_EXPENSE = "wages_expense"
    WITHHOLDING_PAYABLE = "withholding_payable"
    WAGES_PAYABLE = "wages_payable"
    BANK = "bank"


class JournalEntry(models.Model):
    """One posting of the books, for a payslip or for a payment. Never changed.

    Its lines sum to zero. The database sees to that when the transaction commits, so it holds for
    whoever writes them, and however.
    """

    payslip = models.ForeignKey(
        Payslip, models.PROTECT, null=True, blank=True, related_name="journal_entries"
    )
    payment = models.ForeignKey(
        Payment, models.PROTECT, null=True, blank=True, related_name="journal_entries"
    )
    currency = currency_field()
    description = models.CharField(max_length=200)
    posted_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "journal entries"
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                name="journal_entry_has_one_reason",
                condition=Q(payslip=None, payment__isnull=False)
                | Q(payslip__isnull=False, payment=None),
            ),
        )
        triggers = (
            pgtrigger.Protect(
                name="journal_entry_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            ),
            pgtrigger.Trigger(
                name="journal_entry_has_lines",
                operation=pgtrigger.Insert,
                when=pgtrigger.After,
                timing=pgtrigger.Deferred,
                func="""
                    IF NOT EXISTS (SELECT FROM payroll_journalline WHERE entry_id = NEW.id) THEN
                        RAISE integrity_constraint_violation
                            USING MESSAGE = format('journal entry %s has no lines', NEW.id);
                    END IF;
                    RETURN NULL;
                """,
            ),
        )

    def __str__(self) -> str:
        return self.description


class JournalLine(models.Model):
    """A debit (positive) or a credit (negative), in the entry's currency."""

    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="lines")
    account = models.CharField(max_length=30, choices=Account)
    amount = money_field()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(name="journal_line_is_not_zero", condition=~Q(amount=0)),
        )
        triggers = (
            pgtrigger.Protect(
                name="journal_line_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            ),
            pgtrigger.Trigger(
                name="journal_lines_sum_to_zero",
                operation=pgtrigger.Insert,
                when=pgtrigger.After,
                timing=pgtrigger.Deferred,
                func="""
                    IF (SELECT sum(amount) FROM payroll_journalline
                        WHERE entry_id = NEW.entry_id) <> 0 THEN
                        RAISE integrity_constraint_violation USING MESSAGE =
                            format('journal entry %s does not sum to zero', NEW.entry_id);
                    END IF;
                    RETURN NULL;
                """,
            ),
        )

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"
