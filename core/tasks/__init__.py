"""What runs the installation, as Celery tasks. The beat schedule in the settings runs them.

alerts         send_critical_alert                                   an e-mail, once in 24 h
logs           cleanup_old_logs                                      daily
reports        generate_reports, generate_security_report            daily, weekly
tokens         cleanup_expired_tokens                                daily
               cleanup_compromised_token_families,
               monitor_token_security_alerts                         hourly
dead_letters   process_dead_letter, process_dead_letters             once a letter
health         health_check                                          every minute
watch_ledger   watch_ledger                                          every five minutes
"""

from .alerts import send_critical_alert
from .dead_letters import process_dead_letter, process_dead_letters
from .health import health_check
from .logs import cleanup_old_logs
from .reports import generate_reports, generate_security_report
from .tokens import (
    cleanup_compromised_token_families,
    cleanup_expired_tokens,
    monitor_token_security_alerts,
)
from .watch_ledger import watch_ledger

__all__ = [
    "cleanup_compromised_token_families",
    "cleanup_expired_tokens",
    "cleanup_old_logs",
    "generate_reports",
    "generate_security_report",
    "health_check",
    "monitor_token_security_alerts",
    "process_dead_letter",
    "process_dead_letters",
    "send_critical_alert",
    "watch_ledger",
]
