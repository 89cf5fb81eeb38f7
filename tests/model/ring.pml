/* SPDX-License-Identifier: MIT */
/*
 * The protocol of the reclaim ring: a program that enters regions, takes them back, uses their ids again and resizes, and two reclaimers, one of which dies anywhere.
 * Memory is that of x86-TSO: each process has a FIFO of stores that become visible later, and sees its own at once.
 *
 * Checked, in every interleaving within the bounds:
 *   - what the program has got back is never dropped or unmapped by a reclaimer that comes later, and is as the program left it when it was told so;
 *   - nothing is unmapped twice, and nothing is dropped where something else may be mapped;
 *   - no entry is lost: in the end each one has been taken back or reclaimed (or, where a reclaimer died between saying and doing so, its address space leaks);
 *   - an entry is never seen half written, and head <= busy <= the tail of the program.
 *
 * Not covered: memory weaker than TSO (the C code uses sequentially consistent operations where this has fences), FIFOs longer than STORES, ids that wrap, more than two
 * reclaimers outside the program, forks, and what the kernel refuses.
 *
 * Bounds: REGIONS, STEPS of the program, ROUNDS of a reclaimer, RESIZES. Faults, each of which must be found: NO_FENCE_CANCEL, NO_FENCE_ENTER, NO_FENCE_CLAIM (no fence there),
 * NO_LOWER (tail is not read again and busy not lowered), REDO_UNMAPS (the batch of a dead reclaimer is unmapped again), REDO_DROPS (its contents are dropped
 * wherever they were), REDO_LOWERS (its batch is lowered as a new one), NO_HEAD_CHECK (a full ring takes one more).
 */
#ifndef REGIONS
#define REGIONS 2
#endif
#ifndef STEPS
#define STEPS 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef RESIZES
#define RESIZES 1
#endif
#ifndef STORES
#define STORES 3
#endif

#define CAPACITY 2 /* at most; resizing goes between this and one less */
#define BATCH    2
#define NOBODY   255

#define HEAD      0
#define BUSY      1
#define TAIL      2
#define UNMAPPING 3
#define ADDRESS   4 /* a word an entry */
#define SIZE      (ADDRESS + CAPACITY)
#define WORDS     (SIZE + CAPACITY)

#define PROGRAM 0
#define FIRST   1
#define SECOND  2
#define ALL     3

typedef fifo {
	byte count;
	byte at[STORES];
	byte value[STORES];
}

byte memory[WORDS];
fifo stores[ALL];
byte capacity = CAPACITY; /* changes under the lock, while the ring is empty */
byte owner = NOBODY;      /* of the reclaimers' lock */
byte next;                /* the program's tail */
bool died;

/* What is true of regions, known to nobody. Even ones are entered to be freed, odd ones to be deallocated. */
#define USED    0 /* by the program */
#define ENTERED 1
#define LEAKED  2
byte state[REGIONS];
bool dropped[REGIONS];
bool unmapped[REGIONS];

#define deallocate(r) ((r) & 1)

proctype drain(byte who)
{
	byte k;
end:
	do
	:: d_step {
		stores[who].count > 0 ->
		memory[stores[who].at[0]] = stores[who].value[0];
		k = 1;
		do
		:: k < stores[who].count ->
			stores[who].at[k - 1] = stores[who].at[k];
			stores[who].value[k - 1] = stores[who].value[k];
			k++
		:: else -> break
		od;
		stores[who].count--;
		stores[who].at[stores[who].count] = 0;
		stores[who].value[stores[who].count] = 0;
		k = 0;
		assert(memory[HEAD] <= memory[BUSY] && memory[BUSY] <= next)
	}
	od
}

inline store(who, where, what)
{
	d_step {
		stores[who].count < STORES ->
		stores[who].at[stores[who].count] = where;
		stores[who].value[stores[who].count] = what;
		stores[who].count++
	}
}

inline load(who, where, what)
{
	d_step {
		what = memory[where];
		i = 0;
		do
		:: i < stores[who].count ->
			if
			:: stores[who].at[i] == where -> what = stores[who].value[i]
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
}

inline fence(who)
{
	stores[who].count == 0
}

/* Dying is entering the kernel, which lets all stores out, and then the lock goes. */
inline may_die(who)
{
	if
	:: true
	:: who == FIRST -> died = true; goto dead
	fi
}

/* Claims into head, busy; busy == head: there is nothing. The lock is held. */
inline claim(who, most)
{
	load(who, TAIL, tail);
	load(who, HEAD, head);
	load(who, BUSY, busy);
	if
	:: busy != head ->
		store(who, BUSY, busy);
		fence(who);
		load(who, TAIL, tail);
		if
		:: tail < busy ->
#ifdef REDO_LOWERS
			busy = (tail > head -> tail : head);
			store(who, BUSY, busy)
#else
			busy = head
#endif
		:: else
		fi
	:: busy == head && tail > head ->
		busy = (tail - head < most -> tail : head + most);
		store(who, BUSY, busy);
		may_die(who);
#ifndef NO_FENCE_CLAIM
		fence(who);
#endif
#ifndef NO_LOWER
		load(who, TAIL, tail);
		if
		:: tail < busy ->
			busy = (tail > head -> tail : head);
			store(who, BUSY, busy)
		:: else
		fi
#endif
	:: else
	fi
}

/* Of entry id, which the batch has at place n: its region, or NOBODY for a hole. */
inline copy(who, id, region)
{
	if
	:: (id) < busy ->
		load(who, ADDRESS + (id) % capacity, region);
		load(who, SIZE + (id) % capacity, other);
		d_step {
			assert(region == other);
			region = (region == 0 -> NOBODY : region - 1);
			other = 0
		}
	:: else -> region = NOBODY
	fi
}

inline drop(id, region)
{
	d_step {
		if
		:: region == NOBODY
#ifndef REDO_DROPS
		:: region != NOBODY && deallocate(region) && (id) < unmapping
#endif
		:: else ->
			assert(state[region] != USED);
			assert(!unmapped[region]);
			dropped[region] = true
		fi
	}
}

inline unmap(who, id, region)
{
	if
	:: region == NOBODY || !deallocate(region)
#ifndef REDO_UNMAPS
	:: region != NOBODY && deallocate(region) && (id) < unmapping
#endif
	:: else ->
		store(who, UNMAPPING, (id) + 1);
		may_die(who);
		fence(who); /* munmap(2) is a system call */
		d_step {
			assert(state[region] != USED);
			assert(!unmapped[region]);
			unmapped[region] = true
		};
		may_die(who)
	fi
}

inline reclaim(who, most)
{
	claim(who, most);
	may_die(who);
	if
	:: busy != head ->
		load(who, UNMAPPING, unmapping);
		copy(who, head, one);
		copy(who, head + 1, two);
		drop(head, one);
		may_die(who);
		drop(head + 1, two);
		unmap(who, head, one);
		unmap(who, head + 1, two);
		store(who, HEAD, busy)
	:: else
	fi;
	d_step {
		one = 0;
		two = 0;
		unmapping = 0;
		tail = 0
	}
}

proctype reclaimer(byte who)
{
	byte i, round, head, busy, tail, unmapping, one, two, other;

	do
	:: round < ROUNDS ->
		atomic { owner == NOBODY -> owner = who };
		if
		:: reclaim(who, 1)
		:: reclaim(who, BATCH)
		fi;
		fence(who);
		d_step {
			owner = NOBODY;
			head = 0;
			busy = 0;
			round++
		}
	:: round == ROUNDS -> break
	od;
	goto done;
dead:
	fence(who);
	owner = NOBODY;
done:
	skip
}

/* The region of an entry is known to the program by its id. */
byte id_of[REGIONS];

inline reclaimed(r)
{
	d_step {
		if
		:: deallocate(r) ->
			assert(unmapped[r] || died);
			state[r] = (unmapped[r] -> USED : LEAKED); /* mapped anew */
			unmapped[r] = false
		:: else ->
			assert(dropped[r]);
			state[r] = USED
		fi;
		dropped[r] = false;
		id_of[r] = 0
	}
}

inline write_entry(id, value)
{
	store(PROGRAM, ADDRESS + (id) % capacity, value);
	store(PROGRAM, SIZE + (id) % capacity, value)
}

inline enter_new(r)
{
	load(PROGRAM, HEAD, head);
	if
#ifdef NO_HEAD_CHECK
	:: next - head <= capacity ->
#else
	:: next - head < capacity ->
#endif
		state[r] = ENTERED;
		write_entry(next, r + 1);
		id_of[r] = next;
		atomic { next++; store(PROGRAM, TAIL, next) }
	:: else
	fi
}

inline enter_again(r, id)
{
	load(PROGRAM, HEAD, head);
	load(PROGRAM, ADDRESS + (id) % capacity, other);
	if
	:: (id) >= head && other == 0 ->
		state[r] = ENTERED;
		store(PROGRAM, TAIL, (id));
#ifndef NO_FENCE_ENTER
		fence(PROGRAM);
#endif
		load(PROGRAM, BUSY, busy);
		if
		:: id < busy -> state[r] = USED
		:: else ->
			write_entry(id, r + 1);
			id_of[r] = (id)
		fi;
		store(PROGRAM, TAIL, next)
	:: else
	fi;
	other = 0
}

inline cancel(r)
{
	load(PROGRAM, HEAD, head);
	if
	:: id_of[r] < head -> reclaimed(r)
	:: else ->
		store(PROGRAM, TAIL, id_of[r]);
#ifndef NO_FENCE_CANCEL
		fence(PROGRAM);
#endif
		load(PROGRAM, BUSY, busy);
		if
		:: id_of[r] >= busy ->
			write_entry(id_of[r], 0);
			store(PROGRAM, TAIL, next);
			d_step {
				assert(!dropped[r] && !unmapped[r]);
				state[r] = USED;
				id_of[r] = 0
			}
		:: else ->
			store(PROGRAM, TAIL, next);
			load(PROGRAM, HEAD, head);
			if
			:: id_of[r] < head -> reclaimed(r)
			:: else /* busy: to be asked for again */
			fi
		fi
	fi
}

/* Everything that is in the ring; the caller's lock keeps anything from coming in. */
inline reclaim_all()
{
	atomic { owner == NOBODY -> owner = PROGRAM };
	do
	:: reclaim(PROGRAM, BATCH);
		load(PROGRAM, HEAD, head);
		if
		:: head == next -> break
		:: else
		fi
	od;
	fence(PROGRAM)
}

proctype program()
{
	byte i, step, resizes, r, head, busy, tail, unmapping, one, two, other;

	do
	:: step < STEPS ->
		step++;
		select(r : 0 .. REGIONS - 1);
		if
		:: state[r] == USED -> enter_new(r)
		:: state[r] == USED && next > 0 -> enter_again(r, next - 1)
		:: state[r] == USED && next > 1 -> enter_again(r, next - 2)
		:: state[r] == ENTERED -> cancel(r)
		:: resizes < RESIZES ->
			resizes++;
			reclaim_all();
			d_step {
				capacity = CAPACITY + CAPACITY - 1 - capacity;
				owner = NOBODY
			}
		:: else
		fi;
		d_step {
			r = 0;
			head = 0;
			busy = 0
		}
	:: step == STEPS -> break
	od;

	/* At the end nothing may be missing. */
	reclaim_all();
	load(PROGRAM, BUSY, busy);
	assert(busy == next);
	owner = NOBODY;
	r = 0;
	do
	:: r < REGIONS ->
		if
		:: state[r] == ENTERED -> reclaimed(r)
		:: else
		fi;
		r++
	:: else -> break
	od;
	goto done;
dead:
	assert(false);
done:
	skip
}

init
{
	atomic {
		run drain(PROGRAM);
		run drain(FIRST);
		run drain(SECOND);
		run program();
		run reclaimer(FIRST);
		run reclaimer(SECOND)
	}
}
