"""Nothing here is unique: that a row is there once is the ledger's work alone."""

from django.db import models


class Employee(models.Model):
    name = models.CharField(max_length=200)
    salary = models.DecimalField(max_digits=12, decimal_places=2)

    def __str__(self) -> str:
        return self.name


class Payslip(models.Model):
    employee = models.ForeignKey(Employee, models.PROTECT)
    year = models.IntegerField()
    month = models.IntegerField()
    net = models.DecimalField(max_digits=12, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.employee} {self.year}-{self.month:02}"


class Entry(models.Model):
    """A line of an account; the balance is their sum."""

    account = models.CharField(max_length=50)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"
