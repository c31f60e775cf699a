from .dead_letter import DeadLetter
from .report import Report
from .security_alert import SecurityAlert
from .token import DeviceToken, TokenFamily

__all__ = ["DeadLetter", "DeviceToken", "Report", "SecurityAlert", "TokenFamily"]
