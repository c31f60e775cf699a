/*
 * What PostgreSQL gives the protocol, and no more:
 *
 *   - a statement reads what was committed when it began (READ COMMITTED);
 *   - pg_try_advisory_xact_lock never waits, and its lock ends with the transaction;
 *   - whoever writes the key's live row, or inserts one, keeps others from writing it until he commits or
 *     rolls back (row lock, unique index); a writer that waited looks at the row anew;
 *   - a commit becomes visible as a whole, and only then are its locks let go;
 *   - a connection that is lost rolls back.
 */

Row row;                        /* the live row as committed; its id outlives it, for ids are never used again */
byte runlock = NOBODY;          /* session that holds the key's advisory lock */
byte rowlock = NOBODY;          /* session whose open transaction has written the live row */
mtype pending[SESSIONS] = nothing;

#ifdef ASYNC_CLAIM
#define claims_async true
#else
#define claims_async (GUARANTEE == EXACTLY_ONCE)
#endif

#if OUTAGES
Row flushed;                    /* what is on disk; only the claim of an exactly_once run commits before that */
#endif

/* Somebody who only looks, or is about to end: he lets go soon. */
#define fleeting(s) (s >= WORKERS || !in_body[s])

/* For progress: two who only look at a key may keep each other from it for ever, each trying the lock while
   the other looks. Waits with jitter make that end; here it happens at most COLLISIONS times. */
#ifdef COLLISIONS
byte collisions;
#define may_try(s) (runlock == NOBODY || runlock == session(s) || !fleeting(runlock) || collisions < COLLISIONS)
#else
#define may_try(s) true
#endif

/* ledger_fail tries for longer than anybody only looks, which matters to nothing but the count of crashes. */
#if defined(PATIENT) && !defined(FAIL_TRIES_ONCE)
#define may_fail_to_lock(s) (runlock == NOBODY || runlock == session(s) || !fleeting(runlock))
#else
#define may_fail_to_lock(s) may_try(s)
#endif

inline try_lock(s, got) {
    if
    :: runlock == NOBODY || runlock == session(s) -> runlock = session(s); got = 1; printf("%d has the lock\n", s)
    :: else ->
        got = 0; printf("%d finds the lock taken\n", s)
#ifdef COLLISIONS
        ;
        if
        :: fleeting(runlock) -> collisions++
        :: else
        fi
#endif
    fi
}

#define may_write(s) (rowlock == NOBODY || rowlock == s)

/* The condition that ledger_complete's UPDATE is bound to. */
#ifdef UNFENCED
#define fence(i, a) (row.state != none && row.id == i)
#else
#define fence(i, a) (row.state == running && row.id == i && row.attempt == a)
#endif

inline claimed_by(s) {
    row.state = running; row.expired = 0; claimer = s
}

#define settled() claimer = NOBODY

inline fresh_row(s) {
    row.id++; row.attempt = 1; row.crashes = 0; claimed_by(s)
}

inline make_visible(s) {
    if
    :: pending[s] == nothing
    :: else ->
        printf("%d commits: %e\n", s, pending[s]);
        if
        :: pending[s] == insert ->
            promise(legal_moves, row.state == none); fresh_row(s)
        :: pending[s] == replace ->
            promise(legal_moves, row.state == completed && row.expired); cover(expired_and_replaced, true);
            effects = 0; declared = 0; fresh_row(s)
        :: pending[s] == reclaim ->
            promise(legal_moves, row.state == failed); cover(failed_and_claimed_again, true);
            row.attempt++; claimed_by(s)
        :: pending[s] == takeover ->
            promise(legal_moves, row.state == running); cover(taken_over, true); cover(taken_over_though_alive, unsettled[claimer]);
            row.attempt++; row.crashes++; claimed_by(s)
        :: pending[s] == hold ->
            promise(legal_moves, row.state == running || row.state == failed); promise(held_only_when_allowed, may_hold);
            cover(row_held, true);
            row.state = held; settled()
        :: pending[s] == complete ->
            promise(legal_moves, row.state == running);
            promise(no_stale_completion, claimer == s);
            row.state = completed; row.crashes = 0; effects++; counted[s] = 0; settled()
        :: pending[s] == fail ->
            promise(legal_moves, row.state == running);
            row.state = failed; row.crashes = 0; safely_failed(s); settled()
        :: pending[s] == fail_by_exit ->
            promise(legal_moves, row.state == running);
            row.state = failed; row.crashes++; safely_failed(s); settled()
        :: pending[s] == abandon ->
            promise(legal_moves, row.state == running); cover(recovered, true);
            row.crashes++;
#if GUARANTEE == AT_MOST_ONCE
            promise(held_only_when_allowed, may_hold);
            row.state = held;
#else
            row.state = failed;
#endif
            settled()
        :: pending[s] == retire ->
            row.state = none; row.attempt = 0; row.crashes = 0; row.expired = 0; effects = 0; declared = 0; settled()
        :: pending[s] == declare ->
            row.state = completed; row.crashes = 0; declared = 1
        :: pending[s] == let_run ->
            row.state = failed; row.crashes = 0; released_to_run()
        :: pending[s] == effects_only ->
            effects++
        fi;
        promise(effects_commit_once, effects <= 1);
        promise(effects_with_completion, (row.state == completed && !declared) == (effects == 1));
#if OUTAGES
        if
        :: claims_async && (pending[s] == insert || pending[s] == replace || pending[s] == reclaim)
        :: else -> copy_row(flushed, row)
        fi;
#endif
        pending[s] = nothing
    fi
}

#if OUTAGES
inline copy_row(to, from) {
    to.state = from.state; to.id = from.id; to.attempt = from.attempt; to.crashes = from.crashes; to.expired = from.expired
}
#endif

inline let_go(s) {
    if
    :: runlock == session(s) -> runlock = NOBODY; printf("%d lets go of the lock\n", s)
    :: else
    fi;
    if
    :: rowlock == s -> rowlock = NOBODY
    :: else
    fi
}

inline undo(s) {
    pending[s] = nothing; let_go(s)
}

/* The server loses a worker's connection: the process lives on and does not know. */
inline cut(s) {
    printf("%d LOSES ITS CONNECTION\n", s);
    undo(s); connected[s] = 0; run_interrupted(s)
}
