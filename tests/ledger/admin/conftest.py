"""People who look at the ledger, and executions for them to look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

Staff = Callable[..., Client]


@pytest.fixture
def staff(db: None) -> Staff:
    """Logs somebody in who may view executions, and has these permissions besides."""

    def log_in(*codenames: str, name: str = "clerk") -> Client:
        user = User.objects.create_user(name, is_staff=True)
        wanted = {"view_taskexecution", *codenames}
        found = Permission.objects.filter(codename__in=wanted)
        assert len(found) == len(wanted), wanted
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return log_in
