/*
 * What must hold. A promise that is broken stops the search, and the replay of the counter-example prints
 * its name. ONLY narrows a search to one promise.
 */

mtype = {
    effects_commit_once,        /* exactly_once: one row's effects never commit twice */
    effects_with_completion,    /* exactly_once: effects are committed if, and only if, the row is completed */
    one_body_at_a_time,         /* no second body while the first still has its lock; at_most_once: or has lost it */
    run_again_only_with_reason, /* a body runs again only after a crash, a failure or a lost connection;
                                   at_most_once: only after a failure that is safe to retry, or a person's decision */
    own_attempt_only,           /* a body begins under the lock, for the attempt that is running and is its own */
    no_stale_completion,        /* whoever completes is the last who claimed */
    held_only_when_allowed,     /* after more than max_crashes; at_most_once: in doubt */
    legal_moves,                /* each change of state comes from a state that allows it */
    one_live_row,               /* no insert ever meets another live row */
    nothing_lost,               /* no message left, nobody busy: completed, held, or accounted for */
    no_lock_left                /* a delivery that ended holds no lock */
};

#ifdef ONLY
#define watched(name) (name == ONLY)
#else
#define watched(name) true
#endif

#define promise(name, condition) \
    if \
    :: (condition) || !watched(name) \
    :: else -> printf("BROKEN: %e\n", name); assert(false) \
    fi

/* Points that a search must come by: a promise could hold because nothing ever happened. */
#ifdef COVER
#define cover(name, condition) \
    if \
    :: (condition) -> c_code { come_by(#name); } \
    :: else \
    fi
#else
#define cover(name, condition) skip
#endif

/* Ghosts: what the promises remember. The protocol never reads them. */
byte claimer = NOBODY;          /* who made the present row's last claim */
byte effects;                   /* committed effects of the present row; outside exactly_once: its completions */
bit declared;                   /* a person declared it completed */
byte owed[8];                   /* by row: bodies begun, less those that may be run again */
bit counted[WORKERS];           /* this worker's body is among them */
byte run_of[WORKERS];           /* ... of this row */
bit unsettled[WORKERS];         /* between claim and lock, or between rollback and record: alive, but looks dead */
byte doubtful;                  /* at_most_once: failures that may have taken effect */

#if GUARANTEE == AT_MOST_ONCE
#define in_the_way(s) (in_body[s] && run_of[s] == seen_id && !decisions)
#else
#define in_the_way(s) (in_body[s] && connected[s])
#endif
#if WORKERS == 2
#define alone(s) !in_the_way(1 - s)
#define somebody_in_body (in_body[0] || in_body[1])
#define nobody_busy (!busy[0] && !busy[1])
#else
#define alone(s) !((s != 0 && in_the_way(0)) || (s != 1 && in_the_way(1)) || (s != 2 && in_the_way(2)))
#define somebody_in_body (in_body[0] || in_body[1] || in_body[2])
#define nobody_busy (!busy[0] && !busy[1] && !busy[2])
#endif

#if GUARANTEE == AT_MOST_ONCE
#define forget_run(s) skip
#else
#define forget_run(s) run_of[s] = 0
#endif

inline may_run_again(s) {
    if
    :: counted[s] -> counted[s] = 0; owed[run_of[s]]--; forget_run(s)
    :: else
    fi
}

/* A person let the held row run again: whatever began before is settled. */
inline released_to_run() {
    owed[row.id] = 0;
    forgive(0);
    forgive(1)
#if WORKERS > 2
    ;
    forgive(2)
#endif
}

inline forgive(s) {
    if
    :: run_of[s] == row.id -> counted[s] = 0
    :: else
    fi
}

#if GUARANTEE == AT_MOST_ONCE
#define run_interrupted(s) skip
#define run_failed(s) skip
#define safely_failed(s) may_run_again(s)
#else
#define run_interrupted(s) may_run_again(s)
#define run_failed(s) may_run_again(s)
#define safely_failed(s) skip
#endif

inline body_begins() {
    printf("%d: THE BODY BEGINS, row %d, attempt %d\n", me, seen_id, seen_attempt);
    promise(own_attempt_only, runlock == session(me) && row.state == running && row.id == seen_id && row.attempt == seen_attempt && claimer == me);
    promise(one_body_at_a_time, alone(me));
    promise(run_again_only_with_reason, owed[seen_id] == 0);
    cover(body_runs_again, seen_attempt > 1);
    cover(body_overlaps_one_that_lost_its_lock, somebody_in_body);
    owed[seen_id]++; counted[me] = 1; run_of[me] = seen_id; in_body[me] = 1; unsettled[me] = 0
}

/* PATIENT: SECOND_LOOK and RECOVERY_GRACE are longer than a living worker looks dead. Only the count of crashes
   depends on it, so only the searches that check the count assume it. */
#ifdef PATIENT
#define looks_dead(i, a) !(row.state == running && row.id == i && row.attempt == a && claimer < WORKERS && unsettled[claimer])
#else
#define looks_dead(i, a) true
#endif

/* MOST_LOOKS: any look may be the last. For progress, and where crashes are counted, only the look that finds
   the key in use is: eight fruitless ones in a row take as many collisions (postgresql.pml). */
#ifdef COLLISIONS
#define may_give_up (!seen_mine && !locked && seen != completed)
#else
#ifdef PATIENT
#define may_give_up (!seen_mine)
#else
#define may_give_up true
#endif
#endif

#if GUARANTEE == AT_MOST_ONCE
#define may_hold (crashes + cuts > 0 || doubtful > 0)
#else
#define may_hold (crashes + cuts > MAX_CRASHES)
#endif
#if !defined(PATIENT) && !defined(NO_SECOND_LOOK)
#undef may_hold
#define may_hold true
#endif

/* An attempt ended without its record: its connection was cut, or its lock stayed taken. */
bit open_end;
inline left_open() { open_end = 1 }
#ifdef PATIENT
#define lock_stayed_taken() skip         /* ... by one whose attempt it is by now: he sees to it */
#else
#define lock_stayed_taken() left_open()
#endif

/* Nothing is on its way any more. Failed: the body raised, or recovery reported it. Running: recovery will
   report it; it was delivered again, and that delivery had failed, when its worker died. None: it expired, or a person cleared it, or a time limit struck before the claim. */
#define accounted_for ( \
    row.state == completed || row.state == held || \
    (row.state == failed && (failures || limits || decisions || hands)) || \
    (row.state == running && (limits || open_end || hands || (redeliveries && (failures || cuts)))) || \
    (row.state == none && (limits || expiries || decisions || hands)))

#ifdef LIVENESS
/* With finitely many faults every delivery ends, and every execution is settled for good. */
ltl settles { <> [] (ready == 0 && nobody_busy && row.state != running) }
#endif
