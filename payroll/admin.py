from django.contrib import admin

from ledger.admin import CalledWith, WrittenBy
from ledger.admin.permissions import ReadOnly

from .models import (
    Employee,
    HourlyRate,
    JournalEntry,
    JournalLine,
    Payment,
    PayPolicy,
    Payslip,
    PayslipLine,
    WorkLog,
)


class HourlyRateInline(admin.TabularInline):
    model = HourlyRate
    extra = 0


class PayslipLineInline(ReadOnly, admin.TabularInline):
    model = PayslipLine


class JournalLineInline(ReadOnly, admin.TabularInline):
    model = JournalLine


@admin.register(PayPolicy)
class PayPolicyAdmin(admin.ModelAdmin):
    list_display = ("code", "name", "daily_after", "weekly_after", "night_premium", "minute_step")


@admin.register(Employee)
class EmployeeAdmin(CalledWith, admin.ModelAdmin):
    argument = "employee_id"
    list_display = ("number", "name", "pay_policy", "time_zone", "currency", "hired_on", "left_on")
    list_filter = ("pay_policy", "currency")
    list_select_related = ("pay_policy",)
    search_fields = ("number", "name")
    inlines = (HourlyRateInline,)


@admin.register(WorkLog)
class WorkLogAdmin(admin.ModelAdmin):
    list_display = ("employee", "check_in", "check_out", "time_zone")
    list_filter = (("check_out", admin.EmptyFieldListFilter),)
    list_select_related = ("employee",)
    search_fields = ("employee__number",)
    raw_id_fields = ("employee",)


@admin.register(Payslip)
class PayslipAdmin(ReadOnly, CalledWith, WrittenBy, admin.ModelAdmin):
    argument = "payslip_id"
    list_display = (
        "employee",
        "year",
        "month",
        "sequence",
        "kind",
        "gross",
        "net",
        "currency",
        "posted_at",
    )
    list_filter = ("year", "month", "kind", "currency")
    list_select_related = ("employee",)
    search_fields = ("employee__number", "employee__name")
    inlines = (PayslipLineInline,)


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("description", "currency", "posted_at")
    list_filter = ("currency",)
    search_fields = ("description",)
    inlines = (JournalLineInline,)


@admin.register(Payment)
class PaymentAdmin(ReadOnly, CalledWith, WrittenBy, admin.ModelAdmin):
    argument = "transaction_id"
    list_display = (
        "id",
        "payslip",
        "amount",
        "currency",
        "status",
        "created_at",
        "sent_at",
        "bank_number",
    )
    list_filter = ("status", "currency")
    list_select_related = ("payslip",)
    search_fields = ("payslip__employee__number", "payslip__employee__name")
