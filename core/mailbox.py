"""The e-mails that an installation without a mail server puts into files, as a page for staff."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

BETWEEN = b"\n" + b"-" * 79 + b"\n"
"""What Django's file backend writes after each message."""

MOST = 100


@staff_member_required
def page(request: HttpRequest) -> HttpResponse:
    """The newest e-mails; 404 where they go to a mail server."""
    if not settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
        raise Http404("E-mails go to a mail server here: see EMAIL_URL.")
    folder = Path(getattr(settings, "EMAIL_FILE_PATH"))  # noqa: B009  set by EMAIL_URL alone
    mails = [
        {"subject": mail["Subject"], "to": mail["To"], "date": mail["Date"], "text": _text(mail)}
        for mail in newest(folder)
    ]
    context = {**admin.site.each_context(request), "title": "E-mails", "mails": mails}
    return TemplateResponse(request, "core/mailbox.html", context | {"folder": folder})


def newest(folder: Path) -> list[EmailMessage]:
    """The messages of a folder, the last one first."""
    parts = (
        part
        for file in sorted(folder.glob("*.log"), reverse=True)
        for part in reversed(file.read_bytes().split(BETWEEN))
        if part.strip()
    )
    return [message_from_bytes(part, policy=policy.default) for part in islice(parts, MOST)]


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return body.get_content() if body else ""
