from django.core.mail import EmailMessage

from payroll.models import Payslip
from payroll.months import Month

NOTE = """Dear {name},

{what} for {month} has been posted: {gross} {currency} gross, {net} {currency} net.
"""


def notify_employee(payslip_id: int, message_id: str) -> str:
    """Send the employee an e-mail about a payslip. Returns the address, empty if there is none.

    `message_id` identifies the message: who gets it twice, gets it with the same one.
    Raises OSError where the mail server cannot be reached or refuses.
    """
    payslip = Payslip.objects.select_related("employee").get(pk=payslip_id)
    employee = payslip.employee
    if not employee.email:
        return ""
    month = f"{Month(payslip.year, payslip.month).first_day:%B %Y}"
    correction = payslip.kind == Payslip.Kind.CORRECTION
    what = "A correction of your payslip" if correction else "Your payslip"
    EmailMessage(
        subject=f"{what} for {month}",
        body=NOTE.format(
            name=employee.name,
            what=what,
            month=month,
            gross=payslip.gross,
            net=payslip.net,
            currency=payslip.currency,
        ),
        to=[employee.email],
        headers={"Message-ID": f"<{message_id}@payroll>"},
    ).send()
    return employee.email
