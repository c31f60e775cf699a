"""The ledger at ten million executions: what each page and figure takes, and why."""
