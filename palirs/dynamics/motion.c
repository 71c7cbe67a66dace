/* Steps of Langevin dynamics (BAOAB) of isolated molecules, block after block, without coming back to Python.
 *
 * What is calculated, and in which order, is written in palirs/dynamics/langevin.py: the numbers are the same to the last bit. This file is
 * compiled without contraction of products and sums, which would round differently, and once for all architectures: forces come through
 * pointers to what mace.c was compiled to.
 */
#include <stddef.h>
#include <string.h>

#include "gate.h"

typedef void forces_of(const void *model, int molecules, const int *start, const int *species, const double *x, char *memory,
                       double *energy, double *forces);

/* Arrays of atoms are [atoms][3] and those of members [members][...]. x, v, f, heat are the state and change; energy, member_energy and
 * member_forces are results. What was recorded is [records] of x, v, energy, member_forces. */
struct motion {
    double *x, *v, *f, *heat, *energy, *member_energy, *member_forces;
    double *track_x, *track_v, *track_energy, *track_forces;
    const double *mass, *kick, *width, *noise, *isolated;
    const int *start, *species, *block, *local; /* start of molecules; first molecule of blocks; start of molecules within their block */
    forces_of *const *call;                     /* [members] */
    const void *const *model;
    char *memory;
    size_t memory_size;
    double half, damping, kinetic;              /* half a time step; c of BAOAB; eV of 1/2 amu (Å/fs)² */
    int molecules, members, blocks, threads, steps, first, stride; /* records after steps first, first + stride, ... (0: none) */
    int next;
    struct gate gate;
};

static double kinetic_energy(const struct motion *g, int from, int to) {
    double sum = 0;
    for (int i = from; i < to; i++) {
        const double *v = g->v + 3 * (size_t)i, m = g->mass[i];
        sum += g->kinetic * (m * (v[0] * v[0]) + m * (v[1] * v[1]) + m * (v[2] * v[2]));
    }
    return sum;
}

/* v <- c v + width noise, the centre of mass staying at rest; the kinetic energy that this gives is heat. */
static void thermostat(struct motion *g, int k, const double *noise) {
    const int from = g->start[k], to = g->start[k + 1];
    const double before = kinetic_energy(g, from, to);
    double momentum[3] = {0, 0, 0}, mass = 0;
    for (int i = from; i < to; i++) {
        double *v = g->v + 3 * (size_t)i;
        for (int a = 0; a < 3; a++) {
            v[a] = g->damping * v[a] + g->width[i] * noise[3 * (size_t)i + a];
            momentum[a] += g->mass[i] * v[a];
        }
        mass += g->mass[i];
    }
    for (int a = 0; a < 3; a++) momentum[a] /= mass;
    for (int i = from; i < to; i++)
        for (int a = 0; a < 3; a++) g->v[3 * (size_t)i + a] -= momentum[a];
    g->heat[k] = g->heat[k] + kinetic_energy(g, from, to) - before;
}

static void drift(struct motion *g, int from, int to) {
    for (size_t n = 3 * (size_t)from; n < 3 * (size_t)to; n++) g->x[n] += g->half * g->v[n];
}

static void kick(struct motion *g, int from, int to) {
    for (int i = from; i < to; i++)
        for (int a = 0; a < 3; a++) g->v[3 * (size_t)i + a] += g->kick[i] * g->f[3 * (size_t)i + a];
}

/* Until the new positions. */
static void begin_step(struct motion *g, int block, int step) {
    for (int k = g->block[block]; k < g->block[block + 1]; k++) {
        const int from = g->start[k], to = g->start[k + 1];
        kick(g, from, to);
        drift(g, from, to);
        if (g->noise) thermostat(g, k, g->noise + 3 * (size_t)step * g->start[g->molecules]);
        drift(g, from, to);
    }
}

static void evaluate(struct motion *g, int block, int member, char *memory) {
    const size_t first = g->block[block], atom = g->start[first], atoms = g->start[g->molecules];
    g->call[member](g->model[member], (int)(g->block[block + 1] - first), g->local + first + block, g->species + atom, g->x + 3 * atom, memory,
                    g->member_energy + member * (size_t)g->molecules + first, g->member_forces + 3 * (member * atoms + atom));
}

static void record(struct motion *g, int block, size_t place) {
    const size_t first = g->block[block], last = g->block[block + 1], atoms = g->start[g->molecules];
    const size_t from = 3 * (size_t)g->start[first], count = 3 * (size_t)g->start[last] - from, all = 3 * atoms;
    memcpy(g->track_x + place * all + from, g->x + from, count * sizeof(double));
    memcpy(g->track_v + place * all + from, g->v + from, count * sizeof(double));
    memcpy(g->track_energy + place * g->molecules + first, g->energy + first, (last - first) * sizeof(double));
    for (int n = 0; n < g->members; n++)
        memcpy(g->track_forces + (place * g->members + n) * all + from, g->member_forces + n * all + from, count * sizeof(double));
}

/* From the members' forces at the new positions. */
static void end_step(struct motion *g, int block, int step) {
    const int first = g->block[block], last = g->block[block + 1], from = g->start[first], to = g->start[last];
    const size_t all = 3 * (size_t)g->start[g->molecules];
    for (int k = first; k < last; k++) {
        double sum = 0;
        for (int n = 0; n < g->members; n++) sum += g->member_energy[n * (size_t)g->molecules + k] + g->isolated[n * (size_t)g->molecules + k];
        g->energy[k] = sum / g->members;
    }
    for (size_t i = 3 * (size_t)from; i < 3 * (size_t)to; i++) {
        double sum = 0;
        for (int n = 0; n < g->members; n++) sum += g->member_forces[n * all + i];
        g->f[i] = sum / g->members;
    }
    kick(g, from, to);
    const int since = step + 1 - g->first;
    if (g->stride && since >= 0 && since % g->stride == 0) record(g, block, since / g->stride);
}

/* All steps of some blocks by a team of threads: each has blocks of its own, and shares in their evaluation by the members. */
static void run(struct motion *g, int from, int to, int rank, int team, char *memory) {
    for (int step = 0; step < g->steps; step++) {
        for (int b = from + rank; b < to; b += team) begin_step(g, b, step);
        meet(&g->gate, team);
        for (int piece = rank; piece < (to - from) * g->members; piece += team)
            evaluate(g, from + piece / g->members, piece % g->members, memory);
        meet(&g->gate, team);
        for (int b = from + rank; b < to; b += team) end_step(g, b, step);
    }
}

/* Each thread calls this with its number. With a block for each thread nobody waits for anybody. */
void palirs_move(struct motion *g, int thread) {
    char *memory = g->memory + (size_t)thread * g->memory_size;
    if (g->blocks < g->threads) {
        run(g, 0, g->blocks, thread, g->threads, memory);
        return;
    }
    for (int b; (b = __atomic_fetch_add(&g->next, 1, __ATOMIC_RELAXED)) < g->blocks;) run(g, b, b + 1, 0, 1, memory);
}
