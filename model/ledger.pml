/*
 * The ledger's protocol for one key, from the message to the ack. README.md maps each part to the code.
 *
 *   promises.pml    what must hold, and the points that must be reached
 *   postgresql.pml  what the protocol may rely on: statements, locks, transactions, commits
 *   world.pml       what happens to it: crashes, cut connections, the broker, people, the sweeps
 *
 * Between any two steps anybody may be interleaved, killed or cut off. A step is one SQL statement, one
 * half of a commit, or one action of a client or of the broker; `atomic` and `d_step` enclose exactly one.
 * Every bound and every fault is a switch, set by the runner with -D.
 */

#ifndef WORKERS
#define WORKERS      2       /* deliveries being handled at the same time */
#endif
#ifndef MESSAGES
#define MESSAGES     2       /* published for the key before it starts */
#endif
#ifndef MAX_CRASHES
#define MAX_CRASHES  1       /* the decorator's max_crashes; for at_most_once it is 0 */
#endif

/* How often each may happen: 0 switches it off. */
#ifndef DUPLICATES
#define DUPLICATES   0       /* published once more, at any time */
#endif
#ifndef REDELIVERIES
#define REDELIVERIES 0       /* delivered again by the broker while it is being handled */
#endif
#ifndef CRASHES
#define CRASHES      0       /* a worker process is killed */
#endif
#ifndef LIMITS
#define LIMITS       0       /* ... by a hard time limit, which acknowledges its message */
#endif
#ifndef CUTS
#define CUTS         0       /* a worker's connection is lost; its process lives on */
#endif
#ifndef FAILURES
#define FAILURES     0       /* a body raises */
#endif
#ifndef EXPIRIES
#define EXPIRIES     0       /* a settled row passes its expiry */
#endif
#ifndef DECISIONS
#define DECISIONS    0       /* a person clears or releases */
#endif
#ifndef HANDS
#define HANDS        0       /* somebody changes the row with SQL of his own, without the lock */
#endif
#ifndef OUTAGES
#define OUTAGES      0       /* the database server is lost with what it had not yet flushed */
#endif

#define EXACTLY_ONCE  1
#define AT_LEAST_ONCE 2
#define AT_MOST_ONCE  3
#ifndef GUARANTEE
#define GUARANTEE EXACTLY_ONCE
#endif

#define PERSON   WORKERS
#define RECOVERY (WORKERS + 1)
#define SWEEP    (WORKERS + 2)
#define SESSIONS (WORKERS + 3)
#define NOBODY   255

/* The live row's state. */
mtype = { none, running, completed, failed, held };

/* What an open transaction has written to it. */
mtype = { nothing, insert, replace, reclaim, takeover, complete, fail, fail_by_exit, hold, abandon, retire, declare, let_run, effects_only };

typedef Row { mtype state = none; byte id; byte attempt; byte crashes; bit expired }

byte ready = MESSAGES;         /* messages in the queue */
bit unacked[WORKERS];          /* the broker waits for this worker's ack */
bit busy[WORKERS];             /* it handles a message */
bit connected[WORKERS];        /* its connection (for effects outside: the lock's own) is alive */
bit in_body[WORKERS];

byte crashes, limits, cuts, failures, expiries, decisions, hands, outages, redeliveries;  /* so far */

#define me _pid
#ifdef ONE_CONNECTION           /* broken on purpose: workers share the connection they inherited */
#define session(s) (s < WORKERS -> 0 : s)
#else
#define session(s) s
#endif

#include "promises.pml"
#include "postgresql.pml"

/* What may come instead of a step's success: death, or an error because the connection is gone. */
#define OR_DIES \
    :: atomic { crashes < CRASHES -> crashes++; die(); goto dead }
#define OR_FAULT(cut_off) \
    :: atomic { !connected[me] -> goto cut_off } \
    OR_DIES

/* A commit is two steps: its writes become visible, then its locks are let go. Broken on purpose: the other way
   round. */
#ifdef LOCKS_FIRST
#define COMMIT(cut_off, visible, then) \
    if \
    :: atomic { connected[me] -> let_go(me) } \
    OR_FAULT(cut_off) \
    fi; \
    if \
    :: atomic { connected[me] -> visible; then } \
    OR_FAULT(cut_off) \
    fi
#else
#define COMMIT(cut_off, visible, then) \
    if \
    :: atomic { connected[me] -> visible } \
    OR_FAULT(cut_off) \
    fi; \
    if \
    :: atomic { connected[me] -> let_go(me); then } \
    OR_FAULT(cut_off) \
    fi
#endif

/* Lock first, then read, in two statements; or, broken on purpose, a snapshot from before the lock. */
#define LOCK_THEN_READ(cut_off, then) \
    if \
    :: atomic { connected[me] && may_try(me) -> try_lock(me, locked) } \
    OR_FAULT(cut_off) \
    fi; \
    if \
    :: atomic { connected[me] -> read_row(); then } \
    OR_FAULT(cut_off) \
    fi
#define READ_THEN_LOCK(cut_off, then) \
    if \
    :: atomic { connected[me] -> read_row() } \
    OR_FAULT(cut_off) \
    fi; \
    if \
    :: atomic { connected[me] && may_try(me) -> try_lock(me, locked); then } \
    OR_FAULT(cut_off) \
    fi
#ifdef MERGED
#define CLAIM READ_THEN_LOCK
#else
#define CLAIM LOCK_THEN_READ
#endif
#if defined(MERGED) || defined(MERGED_LOOK)
#define LOOK READ_THEN_LOCK
#else
#define LOOK LOCK_THEN_READ
#endif

inline read_row() {
    printf("%d reads: %e, attempt %d\n", me, row.state, row.attempt);
    seen = row.state; seen_id = row.id; seen_attempt = row.attempt; seen_expired = row.expired
}

/* What no later step looks at is set back: it would only multiply the states. */
inline forget_row() {
    seen = none; seen_id = 0; seen_attempt = 0; seen_expired = 0; locked = 0
}

inline forget_claim() {
    claim_id = 0; claim_attempt = 0; answered = 0; unsettled[me] = 0
}

inline forget_all() {
    forget_row(); forget_claim(); failing = 0; connected[me] = 0
}

#define failing_as (failing == 2 -> fail_by_exit : fail)

inline die() {
    printf("%d DIES\n", me);
    in_body[me] = 0; run_interrupted(me); forget_row(); forget_claim(); failing = 0
}

/* The broker delivers again what a dead worker had not acknowledged. A hard time limit acknowledges it. */
inline message_of_the_dead() {
    if
    :: unacked[me] -> unacked[me] = 0; ready++; printf("the broker delivers %d's message again\n", me)
    :: !unacked[me]
    :: unacked[me] && limits < LIMITS -> limits++; unacked[me] = 0; printf("its hard time limit acknowledges %d's message\n", me)
    fi
}

#ifdef CLAIM_WITHOUT_ID
#define claimed_row true
#else
#define claimed_row (seen_id == claim_id)
#endif
#define seen_mine   (seen == running && claim_attempt && seen_attempt == claim_attempt && claimed_row)
#define seen_answer (seen == completed && answered)
#define seen_the_same (seen != none && seen_id == claim_id && seen_attempt == claim_attempt)
#define still(i, a) (row.state == running && row.id == i && row.attempt == a)

/* Idle workers are alike: that the lowest takes the message only spares the others' mirror images. */
#if WORKERS == 2
#define my_turn (me == 0 || busy[0])
#else
#define my_turn (me == 0 || (me == 1 && busy[0]) || (me == 2 && busy[0] && busy[1]))
#endif

/* A worker process handles one message after another; after a death a new process takes its place. */
active [WORKERS] proctype Worker() {
    bit locked, answered;
    byte failing;               /* 0: no; 1: the body raised; 2: it ended its process by raising (SystemExit) */
    mtype seen = none; byte seen_id, seen_attempt; bit seen_expired;
    byte claim_id, claim_attempt;

idle:
    atomic {
        busy[me] = 0; connected[me] = 0; run_of[me] = 0; counted[me] = 0;
        promise(nothing_lost, !(ready == 0 && nobody_busy) || accounted_for);
        promise(no_lock_left, runlock != me && rowlock != me)
    }
end_idle:
    atomic {
        ready > 0 && my_turn -> printf("%d takes a message\n", me);
        ready--; busy[me] = 1; connected[me] = 1; unacked[me] = 1
#ifdef ACK_EARLY
        ; unacked[me] = 0; printf("%d acknowledges\n", me)
#endif
    }

    /* ledger_claim ------------------------------------------------------------------------------- */
claim:
    CLAIM(unreachable,
        if
        :: seen == completed && !seen_expired -> answered = 1; forget_row(); goto commit_claim
        :: seen == running || seen == held -> forget_row(); goto commit_claim
        :: !locked && seen != running && seen != held && !(seen == completed && !seen_expired) ->
            forget_row(); goto commit_claim
        :: else
        fi);
    if
    :: atomic { connected[me] && may_write(me) ->
            rowlock = me;
            if
            :: seen != none && row.state != none && row.id == seen_id ->
                if
                :: seen == completed -> pending[me] = replace
                :: seen == failed && row.crashes > MAX_CRASHES -> pending[me] = hold
                :: seen == failed && row.crashes <= MAX_CRASHES -> pending[me] = reclaim
                fi
            :: else ->
                cover(sweep_was_first, seen != none);
                if
                :: row.state == none -> pending[me] = insert
                :: else -> promise(one_live_row, false); undo(me); forget_all(); goto acknowledge
                fi
            fi;
            forget_row()
       }
    OR_FAULT(unreachable)
    fi;

commit_claim:
    COMMIT(unreachable,
        if
        :: pending[me] == nothing
        :: pending[me] == hold -> make_visible(me)
        :: else -> make_visible(me); claim_id = row.id; claim_attempt = row.attempt; unsettled[me] = 1
        fi, skip);

    /* ledger_lock, in the transaction of the run --------------------------------------------------- */
look:
    LOOK(unreachable,
        if
        :: locked && seen_mine ->
            body_begins(); forget_claim(); locked = 0; seen = none; goto body
        :: else
        fi);

    /* Not ours: that transaction ends, and Looks.next_opening decides. Any look may be the last. ---- */
    if
    :: atomic { connected[me] -> let_go(me);
            if
            :: seen_answer -> cover(duplicate_answered, true); forget_all(); goto acknowledge
            :: seen == held -> forget_all(); goto acknowledge
            :: seen_mine -> forget_row(); goto look
            :: !seen_answer && seen != held && may_give_up -> forget_all(); goto put_back
            :: seen == running && locked && !seen_mine -> forget_claim(); locked = 0; seen = none; goto second_look
            :: !seen_answer && ((locked && seen != running && seen != held) || seen == completed) ->
                forget_row(); forget_claim(); goto claim
            fi
       }
    OR_FAULT(unreachable)
    fi;

    /* ledger_take_over ----------------------------------------------------------------------------- */
second_look:
    if
    :: atomic { connected[me] && may_try(me) && looks_dead(seen_id, seen_attempt) -> try_lock(me, locked);
            if
            :: !locked -> forget_row(); goto commit_claim
            :: else
            fi
       }
    OR_FAULT(unreachable)
    fi;
    if
    :: atomic { connected[me] && may_write(me) ->
            if
            :: still(seen_id, seen_attempt) ->
                rowlock = me;
                if
                :: row.crashes + 1 > MAX_CRASHES -> pending[me] = hold
                :: else -> pending[me] = takeover
                fi
            :: else -> cover(take_over_too_late, true)
            fi;
            forget_row(); goto commit_claim
       }
    OR_FAULT(unreachable)
    fi;

    /* The body ------------------------------------------------------------------------------------- */
body:
    if
    :: atomic { in_body[me] = 0; printf("%d: the body returns\n", me); goto success }
    :: atomic { failures < FAILURES -> failures++; in_body[me] = 0; run_failed(me); failing = 1; printf("%d: the body raises\n", me); goto failure }
    :: atomic { failures < FAILURES && crashes < CRASHES ->
            failures++; crashes++; in_body[me] = 0; run_failed(me); failing = 2;
            printf("%d: the body raises SystemExit\n", me); goto failure }
    OR_DIES
    fi;

#if GUARANTEE == EXACTLY_ONCE

    /* ledger_complete, and its commit with the effects ----------------------------------------------- */
success:
    if
    :: atomic { connected[me] && may_write(me) ->
            if
            :: fence(seen_id, seen_attempt) -> rowlock = me; pending[me] = complete
            :: else ->
                cover(claim_lost, true);
#if defined(SILENT) || defined(UNFENCED)
                pending[me] = effects_only
#else
                undo(me); run_interrupted(me); forget_all(); goto acknowledge
#endif
            fi;
            forget_row()
       }
    OR_FAULT(lost_in_body)
    fi;
    COMMIT(lost_in_body, make_visible(me), forget_all(); goto acknowledge);

    /* Rolled back, which ends the lock; then ledger_fail in a transaction of its own ------------------- */
failure:
    if
    :: atomic { connected[me] -> undo(me); unsettled[me] = 1 }
    :: atomic { !connected[me] -> goto lost_in_body }
    :: atomic { !connected[me] -> connected[me] = 1 }
    OR_DIES
    fi;
    if
    :: atomic { connected[me] && may_fail_to_lock(me) -> try_lock(me, locked) }
    OR_FAULT(unrecorded)
    fi;
    if
    :: atomic { connected[me] && may_write(me) ->
            if
            :: locked && still(seen_id, seen_attempt) -> rowlock = me; pending[me] = failing_as
            :: locked && !still(seen_id, seen_attempt)
            :: !locked -> lock_stayed_taken()
            fi;
            forget_row()
       }
    OR_FAULT(unrecorded)
    fi;
    COMMIT(unrecorded, make_visible(me), goto raised);

lost_in_body:
    atomic {
        if
        :: failing == 2 -> die(); goto dead
        :: else -> forget_all(); goto put_back
        fi
    }

#else

    /* durable._settle: ledger_complete or ledger_fail on the lock's own connection, under the lock ------ */
success:
failure:
settle:
    if
    :: atomic { connected[me] && may_write(me) ->
            if
            :: !failing && fence(seen_id, seen_attempt) -> rowlock = me; pending[me] = complete
            :: failing && still(seen_id, seen_attempt) ->
                rowlock = me;
#if GUARANTEE == AT_MOST_ONCE
                if
                :: pending[me] = hold; doubtful = 1
                :: pending[me] = failing_as          /* one of safe_to_retry */
                fi
#else
                pending[me] = failing_as
#endif
            :: else -> cover(claim_lost, true); undo(me); goto raised
            fi
       }
    OR_FAULT(reconnect)
    fi;
    COMMIT(reconnect, make_visible(me), goto raised);

    /* The lock's connection was lost: on a new one, for some time, if the attempt is still ours --------- */
reconnect:
    if
    :: atomic { connected[me] = 1; claim_id = seen_id; claim_attempt = seen_attempt }
    :: atomic { failing -> goto unrecorded }
    :: atomic { !failing -> forget_all(); goto put_back }
    OR_DIES
    fi;
    LOCK_THEN_READ(lost_again,
        if
        :: locked && seen_the_same && seen == running ->
            cover(recorded_on_a_new_connection, true);
            locked = 0; seen = none; seen_expired = 0; forget_claim(); goto settle
        :: else
        fi);
    if
    :: atomic { connected[me] -> let_go(me);
            if
            :: seen_the_same && seen == running -> goto lost_again
            :: else ->
                cover(commit_arrived_without_its_answer, !failing && seen_the_same && seen == completed);
                cover(claim_lost, !failing && !(seen_the_same && seen == completed));
                goto raised
            fi
       }
    OR_FAULT(lost_again)
    fi;
lost_again:
    atomic {
        connected[me] = 0; forget_row(); seen_id = claim_id; seen_attempt = claim_attempt; forget_claim(); goto reconnect
    }

#endif

    /* The ends of a delivery ------------------------------------------------------------------------ */
unrecorded:
    atomic { left_open() }

raised:         /* also: returned. Raised by SystemExit, the process ends; else Celery may try again by itself. */
    atomic {
        if
        :: failing == 2 -> die(); goto dead
        :: failing != 2 -> forget_all(); goto acknowledge
        :: failing == 1 -> forget_all(); goto put_back
        fi
    }

unreachable:    /* no body has begun: once more on a new connection, or a copy for later */
    atomic {
        forget_row(); forget_claim();
        if
        :: connected[me] = 1; goto claim
        :: goto put_back
        fi
    }

put_back:
    if
#ifdef NO_COPY
    :: skip
#else
    :: atomic { ready++; printf("%d puts a copy back\n", me) }
#endif
    OR_DIES
    fi;

acknowledge:
    if
    :: atomic { unacked[me] = 0; printf("%d acknowledges\n", me); goto idle }
    OR_DIES
    fi;

    /* The broker and the database notice a death in either order. -------------------------------------- */
dead:
    if
    :: atomic { message_of_the_dead() }; atomic { undo(me); goto idle }
    :: atomic { undo(me) }; atomic { message_of_the_dead(); goto idle }
    fi
}

#include "world.pml"
