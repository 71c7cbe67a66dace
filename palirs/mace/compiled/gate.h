/* A gate where threads wait for each other; the last one to come opens it. It begins with zeros. */
#include <sched.h>

struct gate { int arrived, turn; };

static void meet(struct gate *gate, int threads) {
    if (threads == 1) return;
    const int turn = __atomic_load_n(&gate->turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&gate->arrived, 1, __ATOMIC_ACQ_REL) == threads) {
        __atomic_store_n(&gate->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&gate->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int looks = 0; __atomic_load_n(&gate->turn, __ATOMIC_ACQUIRE) == turn; looks++)
        if (looks > 1000) sched_yield();
}
