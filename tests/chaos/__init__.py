"""Breaking everything, and counting: ``make chaos``, and its quick form.

A run is a row of episodes. An episode publishes a batch of executions, each at least twice and of
all three guarantees, to real workers on a real broker and database, injects one kind of fault
several times while they work, heals what it broke, waits until all is settled, and judges: by the
database and by the bank's own book, never by what a worker says.

    world      the servers, workers and proxies      tasks      what the workers run
    faults     what goes wrong, one function each    proxy      a network that can be cut
    episode    publish, break, settle                judge      lost, twice, held
    report     the table, and the failing history    settings   the workers' settings
"""
