from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone


class TokenFamilyQuerySet(models.QuerySet["TokenFamily"]):
    def mark_compromised(self) -> int:
        """Set the flag of those that do not have it; returns how many. The hourly clean-up revokes
        their tokens and tells the admins."""
        return self.filter(compromised_at=None).update(compromised_at=timezone.now())


class TokenFamily(models.Model):
    """One log-in on one device. Its tokens are issued one in exchange for another; one that is
    presented a second time has been stolen, and with it all that came after it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    device = models.CharField(max_length=100)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    compromised_at = models.DateTimeField(
        null=True, blank=True, help_text="The flag: no token of the family is valid any more."
    )
    revoked_at = models.DateTimeField(
        null=True, editable=False, help_text="Its tokens were revoked, and the admins were told."
    )

    objects = TokenFamilyQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "token families"
        constraints = (
            models.CheckConstraint(
                name="family_revoked_is_compromised",
                condition=Q(revoked_at=None) | Q(compromised_at__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                fields=["compromised_at"],
                condition=~Q(compromised_at=None),
                name="core_compromised_families",
            ),
        )

    def __str__(self) -> str:
        return f"Token family {self.pk} of {self.user} on {self.device}"


class DeviceToken(models.Model):
    """What a device shows instead of a password. Only its SHA-256 is known here."""

    family = models.ForeignKey(TokenFamily, models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)
    issued_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="token_expires_after_it_is_issued",
                condition=Q(expires_at__gt=F("issued_at")),
            ),
        )

    def __str__(self) -> str:
        return f"Token {self.digest[:12]}"
