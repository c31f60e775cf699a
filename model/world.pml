/* What happens to the protocol from outside. Each fault and each act is bounded, and may never come. */

#define WORLD (DUPLICATES || REDELIVERIES || CUTS || EXPIRIES || HANDS || OUTAGES)

#if WORLD
byte duplicates;

#define CUT(s)     :: d_step { cuts < CUTS && connected[s] -> cuts++; cut(s) }
#define REDELIVER(s) :: d_step { redeliveries < REDELIVERIES && unacked[s] -> redeliveries++; unacked[s] = 0; ready++; printf("the broker delivers %d's message again\n", s) }

active proctype World() {
end_world:
    do
#if DUPLICATES
    :: d_step { duplicates < DUPLICATES -> duplicates++; ready++; printf("published once more\n") }
#endif
#if REDELIVERIES
    REDELIVER(0)
    REDELIVER(1)
#if WORKERS > 2
    REDELIVER(2)
#endif
#endif
#if CUTS
    CUT(0)
    CUT(1)
#if WORKERS > 2
    CUT(2)
#endif
#endif
#if EXPIRIES
    :: d_step { expiries < EXPIRIES && (row.state == completed || row.state == failed) && !row.expired -> expiries++; row.expired = 1; printf("the row expires\n") }
#endif
#if HANDS
    :: atomic { hands < HANDS && row.state == running && rowlock == NOBODY -> hands++;
            settled(); printf("somebody changes the row by hand\n");
            if
            :: row.state = failed; released_to_run()
            :: row.state = none; row.attempt = 0; row.crashes = 0; effects = 0
            fi
       }
#endif
#if OUTAGES
    :: d_step { row.state != flushed.state || row.attempt != flushed.attempt || row.id != flushed.id -> copy_row(flushed, row) }
    :: d_step { outages < OUTAGES -> outages++; cuts++; printf("THE SERVER RESTARTS\n");
            row.state = flushed.state; row.id = flushed.id; row.attempt = flushed.attempt; row.crashes = flushed.crashes; row.expired = flushed.expired;
            cut(0); cut(1);
#if WORKERS > 2
            cut(2);
#endif
            undo(PERSON); undo(RECOVERY); undo(SWEEP) }
#endif
    od
}
#endif

#if EXPIRIES
/* ledger_retire_expired: no run lock, FOR UPDATE SKIP LOCKED. */
active proctype Sweep() {
end_sweep:
    do
    :: d_step { row.expired && (row.state == completed || row.state == failed) && rowlock == NOBODY -> rowlock = SWEEP; pending[SWEEP] = retire };
        atomic { make_visible(SWEEP) };
        d_step { let_go(SWEEP) }
    od
}
#endif

#ifdef RECOVER
/* ledger_abandon, for what sweep.recover found. A lock that is taken is left for the next time. */
active proctype Recovery() {
    byte id, attempt; bit locked;
end_recovery:
    do
    :: d_step { row.state == running && runlock == NOBODY -> id = row.id; attempt = row.attempt };
        if
        :: atomic { runlock == NOBODY && looks_dead(id, attempt) -> try_lock(RECOVERY, locked) };
            atomic { may_write(RECOVERY) ->
                if
                :: row.state == running && row.id == id && row.attempt == attempt -> rowlock = RECOVERY; pending[RECOVERY] = abandon
                :: else
                fi };
            atomic { make_visible(RECOVERY) };
            d_step { let_go(RECOVERY) }
        :: atomic { row.state != running || row.id != id || row.attempt != attempt }
        fi;
        d_step { id = 0; attempt = 0; locked = 0 }
    od
}
#endif

#if DECISIONS
/* ledger_retire (clear) and ledger_release. Refused while the lock is taken. */
active proctype Person() {
    bit locked;
end_person:
    do
    :: atomic { decisions < DECISIONS && row.state != none && runlock == NOBODY -> decisions++; try_lock(PERSON, locked) };
        atomic { may_write(PERSON) ->
            if
            :: row.state == none
            :: row.state != none -> rowlock = PERSON; pending[PERSON] = retire
            :: row.state == held -> rowlock = PERSON; cover(released_by_a_person, true);
                if
                :: pending[PERSON] = declare
                :: pending[PERSON] = let_run
                fi
            fi };
        atomic { make_visible(PERSON) };
        d_step { let_go(PERSON) }
    od
}
#endif

#ifdef TIME_GOES_ON
/* SPIN 6.5.2 does not find that a fair history has come to a standstill; so nothing stands still. */
active proctype Time() {
    do
    :: ready < 255
    od
}
#endif
