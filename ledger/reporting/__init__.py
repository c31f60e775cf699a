"""What others read, in SQL and by ``manage.py ledger report``: docs/reporting.md.

models   the views of ``sql/views.sql``     grants   a role that may read them, and nothing else
reports  what the command prints            formats  as a table, CSV or JSON
"""
