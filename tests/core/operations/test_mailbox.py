"""Where there is no mail server, e-mails are files, and a page shows them."""

from pathlib import Path

import pytest
from django.core import mail
from django.test import Client
from pytest_django import Settings

from core.tasks import send_critical_alert

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def files(settings: Settings, tmp_path: Path) -> Path:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    return tmp_path / "mail"


def test_an_alert_is_shown(admin_client: Client, files: Path) -> None:
    assert "Nothing was sent yet" in admin_client.get("/mailbox/").content.decode()

    send_critical_alert("Ärger", "The disk <b>is</b> full.", ["night@example.com"])

    page = admin_client.get("/mailbox/").content.decode()
    assert "[critical] Ärger" in page
    assert "The disk &lt;b&gt;is&lt;/b&gt; full." in page
    assert "night@example.com" in page
    assert str(files) in page


def test_the_newest_is_the_first(admin_client: Client, files: Path) -> None:
    with mail.get_connection() as together:  # one file
        for word in ("first", "second"):
            mail.EmailMessage(word, "text", to=["a@example.com"], connection=together).send()

    page = admin_client.get("/mailbox/").content.decode()
    assert page.index("<h2>second") < page.index("<h2>first")


def test_it_is_for_staff(client: Client, files: Path) -> None:
    assert client.get("/mailbox/")["Location"].startswith("/admin/login/")


def test_with_a_mail_server_there_is_no_such_page(admin_client: Client) -> None:
    assert admin_client.get("/mailbox/").status_code == 404
