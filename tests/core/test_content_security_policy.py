import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/admin/login/", "/healthz", "/nowhere"])
def test_it_allows_nothing_inline_and_nothing_from_elsewhere(client: Client, address: str) -> None:
    policy = client.get(address).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert not {"unsafe-inline", "unsafe-eval", "http", "data:", "*"} & set(
        policy.replace(";", " ").replace("'", " ").split()
    )
