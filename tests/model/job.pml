/* A job as a model: two shards with step windows, the dealer, workers that crash and come back, bsp. What is checked in
 * every order of events, for K slots, WORKERS workers and STEPS steps:
 *   - a worker has theta of a step only when all steps before it are complete on every shard (the bound);
 *   - a step is complete on a shard exactly once, with each slot counted once;
 *   - low never goes back;
 *   - no run ends before the job is done: whoever crashes, if one worker lives the job goes on (no deadlock).
 *
 * Each step of the model is one thing that one party does on its own: a worker reads a letter of the head, pushes one
 * slot to one shard, or goes on to the next step; a worker crashes, between any two of its pushes; the head notices and
 * deals anew, or hears of a complete step; a slow worker's slot is given to another too. Letters are reliable and in
 * order while a worker lives, as on a TCP connection, and lost with it. Slots are bits of a byte.
 *
 * Run by tests/model/run. */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef K
#define K 2
#endif
#ifndef STEPS
#define STEPS 2
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef COPIES
#define COPIES 1
#endif
#ifndef VERSIONS
#define VERSIONS 2 /* of theta that a shard holds; dp-server has more, which makes it easier */
#endif
#ifndef FORGETFUL
#define FORGETFUL 0 /* 1: the open slots of the lost are given to nobody. A model that finds nothing wrong then is no good */
#endif
#define SHARDS 2
#define ALL ((1 << K) - 1)
#define NOBODY WORKERS
#define LETTERS 3

#define OUTSIDE(i) (!w[i].alive && !w[i].member)
#define DEAD(i) (!w[i].alive && w[i].member)
/* Slots that worker i owes to a shard at its step. */
#define OWES(i, shard) ((w[i].duty[w[i].step] | w[i].extra[w[i].step]) & ~w[i].sent[shard] & ALL)

/* A worker. What it owes at a step is duty of the last letter that holds there, and the extra slots. */
typedef worker_t {
    bool alive;
    bool member;         /* the head takes it for alive */
    byte step;           /* it has theta of this step; STEPS: it knows that the job is done */
    byte duty[STEPS];
    byte extra[STEPS];
    byte sent[SHARDS];   /* of this step */
};

/* A shard's window: slots of the open step that have come. */
typedef shard_t {
    byte next;           /* the open step: all before it are complete */
    byte in;
};

worker_t w[WORKERS];
shard_t s[SHARDS];
byte low;                /* steps complete on all shards, as the head knows it */
byte owner[K];           /* at step low */
byte next_owner[K];      /* from step low + 1 on, or from low */
byte crashes, copies;
/* Scratch of deal() and forget(), which are one step of the model; 0 outside them, so that it makes no states. */
byte d_k, d_m, d_count, d_turn, d_from, d_mine, d_open, d_t;
byte d_kept;

/* from, slots at steps >= from, step of the extra slots, extra slots */
chan inbox[WORKERS] = [LETTERS] of { byte, byte, byte, byte };

/* server/deal/dealer.c: slots of the open step whose owner is no member go to members; runs from the next step on. Nobody
 * kept one: the new deal holds from the open step. */
inline deal() {
    d_step {
        d_count = 0; d_kept = 0; d_turn = 0;
        for (d_m : 0 .. WORKERS - 1) {
            d_count = d_count + w[d_m].member;
        }
        for (d_k : 0 .. K - 1) {
            if
            :: owner[d_k] != NOBODY && w[owner[d_k] % WORKERS].member -> d_kept = 1
            :: else ->
                owner[d_k] = NOBODY;
                if
                :: d_count > 0 && !FORGETFUL ->
                    do
                    :: w[d_turn].member -> owner[d_k] = d_turn; d_turn = (d_turn + 1) % WORKERS; break
                    :: else -> d_turn = (d_turn + 1) % WORKERS
                    od
                :: else
                fi
            fi
        }
        d_turn = 0;
        for (d_k : 0 .. K - 1) {
            next_owner[d_k] = NOBODY;
            if
            :: d_count > 0 ->
                do
                :: w[d_turn].member -> next_owner[d_k] = d_turn; d_turn = (d_turn + 1) % WORKERS; break
                :: else -> d_turn = (d_turn + 1) % WORKERS
                od
            :: else
            fi
        }
        d_from = low + 1;
        if
        :: d_kept == 0 ->
            d_from = low;
            for (d_k : 0 .. K - 1) { owner[d_k] = next_owner[d_k] }
        :: else
        fi;
    }
    for (d_m : 0 .. WORKERS - 1) {
        if
        :: w[d_m].member ->
            d_step {
                d_mine = 0; d_open = 0;
                for (d_k : 0 .. K - 1) {
                    d_mine = d_mine | ((next_owner[d_k] == d_m) << d_k);
                    d_open = d_open | ((owner[d_k] == d_m) << d_k)
                }
            }
            /* What a crashed worker would not read is lost with it. */
            if
            :: w[d_m].alive -> inbox[d_m] ! d_from, d_mine, low, d_open
            :: else
            fi
        :: else
        fi
    }
    d_k = 0; d_m = 0; d_count = 0; d_turn = 0; d_from = 0; d_mine = 0; d_open = 0; d_kept = 0
}


/* A step that is whole is committed once there is room for one more version of theta: those from low on are kept. */
inline commit(shard) {
    if
    :: s[shard].in == ALL && s[shard].next - low < VERSIONS - 1 ->
        s[shard].in = 0;
        s[shard].next = s[shard].next + 1
    :: else
    fi
}

inline forget(m) {
    d_step {
        w[m].alive = false;
        w[m].step = 0;
        for (d_t : 0 .. STEPS - 1) { w[m].duty[d_t] = 0; w[m].extra[d_t] = 0 }
        w[m].sent[0] = 0; w[m].sent[1] = 0;
        d_t = 0
    }
    do
    :: inbox[m] ? _, _, _, _
    :: empty(inbox[m]) -> break
    od
}

/* The head. Ends when the job is done. */
active proctype head() {
    byte m, slot;
    do
    :: low == STEPS -> break

    /* a worker joins, at the step that is open */
    :: atomic {
            low < STEPS && (OUTSIDE(0) || OUTSIDE(WORKERS - 1)) ->
            if
            :: OUTSIDE(0) -> m = 0
            :: OUTSIDE(WORKERS - 1) -> m = WORKERS - 1
            fi;
            w[m].alive = true; w[m].member = true; w[m].step = low;
            deal();
            m = 0
        }

    /* a crash is noticed: the connection is gone, or the lease ran out */
    :: atomic {
            low < STEPS && (DEAD(0) || DEAD(WORKERS - 1)) ->
            if
            :: DEAD(0) -> m = 0
            :: DEAD(WORKERS - 1) -> m = WORKERS - 1
            fi;
            w[m].member = false;
            deal();
            m = 0
        }

    /* the shards have completed a step: the next deal is in force */
    :: atomic {
            low < s[0].next && low < s[1].next ->
            low = low + 1;
            commit(0);
            commit(1);
            for (slot : 0 .. K - 1) { owner[slot] = next_owner[slot] }
            slot = 0
        }

    /* a slot of the open step is given to another worker too */
    :: atomic {
            copies < COPIES && low < STEPS && w[0].member && w[0].alive && nfull(inbox[0]) ->
            copies = copies + 1;
            inbox[0] ! STEPS, 0, low, ALL
        }
    od
}

/* A worker's life; again after a crash. */
proctype worker(byte me) {
    byte from, slots, step, extra, t, k, shard;
    do
    :: low == STEPS -> break

    :: atomic {
            w[me].alive && nempty(inbox[me]) ->
            inbox[me] ? from, slots, step, extra;
            for (t : 0 .. STEPS - 1) {
                if
                :: t >= from -> w[me].duty[t] = slots
                :: else
                fi
            }
            if
            :: step < STEPS -> w[me].extra[step] = w[me].extra[step] | extra
            :: else
            fi;
            from = 0; slots = 0; step = 0; extra = 0; t = 0
        }

    /* one slot to one shard: counted if it is new and its step is open */
    :: atomic {
            w[me].alive && w[me].step < STEPS && (OWES(me, 0) != 0 || OWES(me, 1) != 0) ->
            if
            :: OWES(me, 0) != 0 -> shard = 0
            :: OWES(me, 1) != 0 -> shard = 1
            fi;
            k = 0;
            do
            :: (OWES(me, shard) >> k) & 1 -> break
            :: else -> k++
            od;
            w[me].sent[shard] = w[me].sent[shard] | (1 << k);
            assert(w[me].step <= s[shard].next);
            if
            :: w[me].step == s[shard].next && !((s[shard].in >> k) & 1) ->
                s[shard].in = s[shard].in | (1 << k);
                commit(shard)
            :: else
            fi;
            k = 0; shard = 0
        }

    /* theta of the next step, from all shards; or of the open one, where others have completed this one */
    :: atomic {
            w[me].alive && w[me].step < STEPS && s[0].next > w[me].step && s[1].next > w[me].step ->
            w[me].step = w[me].step + 1;
            assert(w[me].step <= s[0].next && w[me].step <= s[1].next);
            w[me].sent[0] = 0; w[me].sent[1] = 0
        }

    :: atomic {
            w[me].alive && crashes < CRASHES ->
            crashes = crashes + 1;
            forget(me)
        }
    od
}

/* low is behind every shard, and no shard is more than a step ahead of another: whoever has to compute a slot again finds
 * the version that it needs. */
active proctype watch() {
end:
    do
    :: atomic {
            !(low <= s[0].next && low <= s[1].next && s[0].next <= s[1].next + 1 && s[1].next <= s[0].next + 1 &&
              s[0].next < low + VERSIONS && s[1].next < low + VERSIONS) ->
            assert(false)
        }
    od
}

init {
    byte k, i;
    atomic {
        for (k : 0 .. K - 1) { owner[k] = NOBODY; next_owner[k] = NOBODY }
        for (i : 0 .. WORKERS - 1) { run worker(i) }
    }
}
