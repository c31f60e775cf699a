"""Settings, read from the environment and from ``.env``; ``.env.example`` lists every variable.

Importing this module starts nothing: where the embedded servers answer is known before they run.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from core.embedded import LOCAL, PostgreSQL, Valkey

BASE_DIR = Path(__file__).resolve().parent.parent
INSECURE_SECRET_KEY = "insecure-key-for-development-only"  # noqa: S105

env = environ.Env()
env.read_env(BASE_DIR / ".env")

PRODUCTION = env.bool("PRODUCTION", default=False)
SECRET_KEY = env.str("SECRET_KEY", default=INSECURE_SECRET_KEY)
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "pgtrigger",
    "ledger",
    "payroll",
    "core",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

ROOT_URLCONF = "core.urls"
WSGI_APPLICATION = "core.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="Europe/Berlin")
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # the admin's own files, without a collectstatic step

# Served over HTTPS: secure cookies, redirects and HSTS.
HTTPS = env.bool("HTTPS", default=PRODUCTION)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^metrics$"]  # asked for from within
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if env.bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Nothing but our own files, no inline script or style, no eval: on every page, the admin's too.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- Servers: real ones where a URL is given, embedded ones otherwise ---

DATABASE_URL = env.str("DATABASE_URL", default="")
BROKER_URL = env.str("CELERY_BROKER_URL", default="")
EMBEDDED_SERVERS = [
    server.name for server, url in ((PostgreSQL, DATABASE_URL), (Valkey, BROKER_URL)) if not url
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        **env.db_url_config(DATABASE_URL or PostgreSQL(LOCAL).url),
    }
}
if env.bool("DATABASE_POOL", default=False):
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # Django refuses a pool of persistent connections
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = True


def cache_beside(broker: str) -> str:
    """The URL of the database after a Redis broker's: clearing a Redis cache flushes all of it."""
    url = urlsplit(broker)
    return url._replace(path=f"/{int(url.path.strip('/') or 0) + 1}").geturl()


if not BROKER_URL:
    CACHE_URL = Valkey(LOCAL).cache_url(1)
elif BROKER_URL.startswith(("redis://", "rediss://")):
    CACHE_URL = cache_beside(BROKER_URL)
else:
    CACHE_URL = ""
CACHE_URL = env.str("CACHE_URL", default=CACHE_URL)
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL}
    if CACHE_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# --- Celery ---

CELERY_BROKER_URL = BROKER_URL or Valkey(LOCAL).url(0)
# Results go where the messages are. RabbitMQ has no store in which a chord could count: there rpc://
# serves single results, groups and chains without a further server and without a write to the
# database for each task; chords want CELERY_RESULT_BACKEND set to a Redis.
CELERY_RESULT_BACKEND = env.str(
    "CELERY_RESULT_BACKEND",
    default=CELERY_BROKER_URL if CELERY_BROKER_URL.startswith("redis") else "rpc://",
)
CELERY_RESULT_EXPIRES = 86_400
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = TIME_ZONE
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A message is acknowledged when its work is done; a worker that dies gives it back.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# So does one that is killed at its time limit: the ledger holds what ends so again and again.
CELERY_TASK_ACKS_ON_TIMEOUT = env.bool("CELERY_TASK_ACKS_ON_TIMEOUT", default=False)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# With a pool of threads Celery raises the count again from a thread of the pool, reading the same
# RabbitMQ connection as its main thread: after a lost connection a worker hung for ever.
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
# Redis delivers again what was not acknowledged for this long, RabbitMQ (as it comes) after half an
# hour: no task may run longer than either.
CELERY_VISIBILITY_TIMEOUT = env.int("CELERY_VISIBILITY_TIMEOUT", default=3600)
CELERY_TASK_TIME_LIMIT = env.int("CELERY_TASK_TIME_LIMIT", default=1500)
CELERY_TASK_SOFT_TIME_LIMIT = env.int(
    "CELERY_TASK_SOFT_TIME_LIMIT", default=max(1, CELERY_TASK_TIME_LIMIT - 60)
)
# RabbitMQ drops what it cannot take without a word, unless it is asked to confirm each message.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"visibility_timeout": CELERY_VISIBILITY_TIMEOUT}
    if CELERY_BROKER_URL.startswith("redis")
    else {"confirm_publish": True}
)
# Without this Django's Celery fix-up connects anew for every task, which costs more than a claim.
CELERY_DB_REUSE_MAX = 1000
# Alerts and housekeeping do not wait behind a payroll, nor a payroll behind a clean-up. A worker
# takes all three queues unless its --queues says otherwise.
CELERY_TASK_QUEUES = [
    Queue(name, Exchange(name), routing_key=name) for name in ("celery", "maintenance", "alerts")
]
CELERY_TASK_ROUTES: dict[str, dict[str, str]] = {
    "core.tasks.send_critical_alert": {"queue": "alerts"},
    "core.tasks.*": {"queue": "maintenance"},
    "ledger.tasks.*": {"queue": "maintenance"},
    "payroll.tasks.chase_payments": {"queue": "maintenance"},
}
CELERY_BEAT_SCHEDULE_FILENAME = env.str(
    "CELERY_BEAT_SCHEDULE_FILENAME", default=str(LOCAL / "beat-schedule")
)


def periodic(task: str, schedule: int | crontab, expires: int | None = None) -> dict[str, Any]:
    """An entry for beat. While no worker takes it, its messages expire instead of piling up, after
    ``expires`` or the interval, in seconds: the next one looks at the same things."""
    expires = schedule if isinstance(schedule, int) else expires
    return {"task": task, "schedule": schedule, "options": {"expires": expires}}


CELERY_BEAT_SCHEDULE = {
    "retire and purge executions": periodic("ledger.tasks.sweep", 300),
    "find executions whose worker died": periodic("ledger.tasks.recover", 60),
    "publish follow-ups that a crash left": periodic("ledger.tasks.relay", 10),
    "look after open payments": periodic("payroll.tasks.chase_payments", 60),
    "see whether all is well": periodic("core.tasks.health_check", 60),
    "watch the ledger": periodic("core.tasks.watch_ledger", 300),
    "try again what failed for a while": periodic("core.tasks.process_dead_letters", 300),
    # None at two o'clock, which the clocks of some days skip and of others show twice. Reports do
    # not expire: each is about a day or week of its own, however late it is written.
    "report on yesterday": periodic("core.tasks.generate_reports", crontab(hour="0", minute="20")),
    "report on last week's security": periodic(
        "core.tasks.generate_security_report", crontab(day_of_week="monday", hour="6", minute="0")
    ),
    "delete old logs and sessions": periodic(
        "core.tasks.cleanup_old_logs", crontab(hour="3", minute="20"), expires=86_400
    ),
    "delete expired tokens": periodic(
        "core.tasks.cleanup_expired_tokens", crontab(hour="3", minute="40"), expires=86_400
    ),
    "revoke compromised tokens": periodic(
        "core.tasks.cleanup_compromised_token_families", crontab(minute="5"), expires=3600
    ),
    "remind of unresolved security alerts": periodic(
        "core.tasks.monitor_token_security_alerts", crontab(minute="10"), expires=3600
    ),
}

# --- Payroll: where money and mail go ---

BANK_URL = env.str("BANK_URL", default="")
BANK_HONOURS_KEYS = env.bool("BANK_HONOURS_KEYS", default=True)
BANK_TIMEOUT = env.float("BANK_TIMEOUT", default=10)
PAYROLL_FOLLOW_UPS = env.bool("PAYROLL_FOLLOW_UPS", default=bool(BANK_URL))
globals().update(
    env.email_url(
        "EMAIL_URL", default="smtp://localhost:25" if PRODUCTION else f"filemail:///{LOCAL}/mail"
    )
)
EMAIL_TIMEOUT = env.float("EMAIL_TIMEOUT", default=10)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="payroll@localhost")

# --- Operations ---

ALERT_RECIPIENTS = env.list("ALERT_RECIPIENTS", default=["admin@localhost"])
LEDGER = {"METRICS_TOKEN": env.str("METRICS_TOKEN", default="")}

# --- Logging: one line an event, as JSON with every field of it, the ledger's included ---

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("LOG_FORMAT", default="json" if PRODUCTION else "text")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime}{levelname}{name}{message}",
            "style": "{",
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {"django": {"handlers": [], "propagate": True}},
}
LOG_FOLDER = env.str("LOG_FOLDER", default="" if PRODUCTION else str(LOCAL / "logs"))
if LOG_FOLDER:
    LOGGING["root"]["handlers"].append("files")
    LOGGING["handlers"]["files"] = {
        "()": "core.log_files.DailyLogFile",
        "folder": LOG_FOLDER,
        "formatter": LOG_FORMAT,
    }


def _refuse_unsafe_production() -> None:
    reasons = []
    if SECRET_KEY in {"", INSECURE_SECRET_KEY}:
        reasons.append(
            "SECRET_KEY is missing, or the default that everybody knows: set it to a random "
            'string, such as python -c "import secrets; print(secrets.token_urlsafe(50))" prints'
        )
    if DEBUG:
        reasons.append("DEBUG shows settings and code to visitors: unset it")
    if PostgreSQL.name in EMBEDDED_SERVERS:
        reasons.append("the database is the embedded one: set DATABASE_URL to a PostgreSQL server")
    if Valkey.name in EMBEDDED_SERVERS:
        reasons.append(
            "the broker is the embedded one: set CELERY_BROKER_URL to a RabbitMQ or Redis server"
        )
    if reasons:
        listed = "".join(f"\n  - {reason}" for reason in reasons)
        raise ImproperlyConfigured(
            f"PRODUCTION is set, and this installation is not safe for it:{listed}"
        )


if PRODUCTION:
    _refuse_unsafe_production()
