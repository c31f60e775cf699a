"""A small bank that money is really sent to: a process of its own, reached over HTTP.

    python -m payroll.bank --port 8090 --book book.jsonl        prints where it listens

    POST /transfers/idempotent  {"reference", "amount", "currency", "iban"}, all of them strings
                                and the header Idempotency-Key: one booking for each key, for good
    POST /transfers/plain       the same without a key: every request books
    GET  /book[?reference=…]    {"total", "counts": {reference: bookings}, "bookings": [...]}
    PUT  /faults                {"seed": 7, "rules": [{"fault", "probability", "count"}]}
    GET  /faults                the rules, how often each may still strike, and how often it has

A transfer that is booked is answered 201 with the booking; an answer given before is given again,
with the header Idempotency-Replayed. Refusals book nothing: 400 is a request that cannot be read or
has no key, 422 a transfer that is not possible, or a key that was used for another one. After 500
and 503 only the book tells.

The book (book.py) is the bank's own record and knows nothing of who sends: whoever wants to know
whether money moved twice, or not at all, asks the book. The bank misbehaves on demand (faults.py),
for one request by the header Bank-Fault, or for all by PUT /faults.

client.py sends transfers and tells apart what was refused, what never left and what nobody knows;
process.py runs a bank from Python.
"""
