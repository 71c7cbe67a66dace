/* Updates of a training: loss of a batch, gradient by the parameters, step of the optimiser, average of the parameters.
 *
 * Every weight of the compiled code is a parameter times a constant (a factor), or comes from products of matrices of factors, or is a
 * transposed copy; "shape.h" has the tables PRODUCT, MIX and TURN of those. Threads share the molecules of a batch and wait for each
 * other; sums run in an order that depends on their number, not on who is first.
 *
 * Entry e of a batch is frame e, or, from singles on, a pair: frames s = singles + 2 (e − singles) and s + 1, displaced to either side of a
 * geometry. The change of forces or dipole between them, over span, is compared with the label of frame s. The loss by the values of frame
 * s + 1 is the opposite of that by those of frame s.
 */
#include "gate.h"

#include "train.c"

struct training {                                          /* learner.py has the same */
    const double *x, *target, *forces;                     /* labelled frames one after the other: [atoms][3]; energies or dipoles; [atoms][3] */
    const double *pair_weight;                             /* [pairs] of the frames behind the single ones: see below */
    const int *start, *species;                            /* [frames + 1] first atoms; [atoms] */
    const int *parameter, *factor;                         /* [factors] which parameter, [parameters] which factor */
    const REAL *constant, *scale;                          /* [factors] times what; [parameters] the same for their factors */
    REAL *factors, *by_factors, *weight, *by_weight;       /* by_weight: one for each thread */
    REAL *vector, *gradient, *average, *first, *second, *largest; /* [parameters]; moments of the gradient */
    double *partial, *results, *slopes;                    /* [threads] loss; room for energies, forces or dipoles, and the loss by them */
    char *memory;                                          /* for each thread */
    size_t memory_size, room;
    double cutoff, delta, unit, energy_weight, forces_weight, clip, decay, beta, epsilon, span;
    long done;                                             /* steps before these updates */
    int parameters, all_factors, weights, batch, singles, block, threads, norm, optimiser;
    struct gate gate;                                      /* of the threads */
};

enum { MEAN_SQUARE, HUBER, LENGTH }; /* NORMS and OPTIMISERS of learner.py */
enum { NONE, AMSGRAD, ADAMW };

/* ---- from parameters to weights, and back for derivatives ---- */

static void pick(int n, const int *restrict place, const REAL *restrict from, REAL *restrict to) {
    for (int i = 0; i < n; i++) to[i] = from[place[i]];
}

static void refresh(struct training *g) {
    const REAL *f = g->factors + g->weights;
    pick(g->all_factors, g->parameter, g->vector, g->factors);
    for (int i = 0; i < g->all_factors; i++) g->factors[i] *= g->constant[i];
    memcpy(g->weight, g->factors, sizeof(REAL) * g->weights);
    for (int n = 0; n < PRODUCTS; n++) {
        const struct product *p = &PRODUCT[n];
        int in[p->m], out[p->m];
        plain_rows(p->m, p->k, p->n, in, out);
        for (int b = 0; b < p->batch; b++) {
            const REAL *right = f + p->right + (size_t)b * p->right_step;
            REAL *to = g->weight + p->out + (size_t)b * p->m * p->n;
            if (p->mix == p->mix_end) {
                matmul(p->m, in, out, f + p->left + (size_t)b * p->left_step, right, p->k, p->n, to, 0);
                continue;
            }
            memset(to, 0, sizeof(REAL) * p->m * p->n);
            for (int e = p->mix; e < p->mix_end; e++)
                for (int c = 0; c < p->n; c++) to[(size_t)MIX[e].row * p->n + c] += MIX[e].factor * right[(size_t)MIX[e].column * p->n + c];
        }
    }
    for (int n = 0; n < TURNS; n++)
        for (int b = 0; b < TURN[n].batch; b++) {
            const REAL *from = g->weight + TURN[n].from + (size_t)b * TURN[n].m * TURN[n].n;
            REAL *to = g->weight + g->weights + TURN[n].to + (size_t)b * TURN[n].m * TURN[n].n;
            for (int i = 0; i < TURN[n].m; i++)
                for (int j = 0; j < TURN[n].n; j++) to[j * TURN[n].m + i] = from[i * TURN[n].n + j];
        }
}

/* Gradient by the parameters from the sum of those by the weights. */
static void gather(struct training *g) {
    for (int t = 1; t < g->threads; t++)
        for (int i = 0; i < g->weights; i++) g->by_weight[i] += g->by_weight[(size_t)t * g->weights + i];
    memcpy(g->by_factors, g->by_weight, sizeof(REAL) * g->weights);
    REAL *df = g->by_factors + g->weights;
    const REAL *f = g->factors + g->weights;
    memset(df, 0, sizeof(REAL) * (g->all_factors - g->weights));
    for (int n = 0; n < PRODUCTS; n++) {
        const struct product *p = &PRODUCT[n];
        int in[p->m], out[p->m];
        plain_rows(p->m, p->k, p->n, in, out);
        for (int b = 0; b < p->batch; b++) {
            const REAL *right = f + p->right + (size_t)b * p->right_step, *by = g->by_weight + p->out + (size_t)b * p->m * p->n;
            REAL *dright = df + p->right + (size_t)b * p->right_step;
            if (p->mix < p->mix_end) {
                for (int e = p->mix; e < p->mix_end; e++)
                    for (int c = 0; c < p->n; c++)
                        dright[(size_t)MIX[e].column * p->n + c] += MIX[e].factor * by[(size_t)MIX[e].row * p->n + c];
                continue;
            }
            const REAL *left = f + p->left + (size_t)b * p->left_step;
            outer(p->m, in, out, left, by, NULL, NULL, p->k, p->n, dright);
            REAL *turned = g->factors + g->all_factors; /* room behind them */
            for (int i = 0; i < p->k; i++)
                for (int j = 0; j < p->n; j++) turned[j * p->k + i] = right[i * p->n + j];
            matmul(p->m, out, in, by, turned, p->n, p->k, df + p->left + (size_t)b * p->left_step, 1);
        }
    }
    pick(g->parameters, g->factor, g->by_factors, g->gradient);
    for (int i = 0; i < g->parameters; i++) g->gradient[i] *= g->scale[i];
}

/* ---- loss of a block of molecules: its part, and its derivatives ---- */

/* Norm of n components of a deviation, and its derivatives times scale. */
static double deviation(const struct training *g, int n, double *d, double scale) {
    double sum = 0, length = 0;
    for (int a = 0; a < n; a++) length += d[a] * d[a];
    if (g->norm == LENGTH) {
        length = n == 1 ? fabs(d[0]) : sqrt(length + 1e-8);
        for (int a = 0; a < n; a++) d[a] *= n == 1 && length == 0 ? 0 : scale / length;
        return length;
    }
    for (int a = 0; a < n; a++) {
        const double size = fabs(d[a]);
        if (g->norm == MEAN_SQUARE) sum += d[a] * d[a], d[a] *= 2 * scale;
        else if (size <= g->delta) sum += 0.5 * d[a] * d[a], d[a] *= scale;
        else sum += g->delta * (size - 0.5 * g->delta), d[a] = (d[a] > 0 ? g->delta : -g->delta) * scale;
    }
    return sum;
}

struct block { int molecules, *start, *species; double *x; };

static double weight_of_pair(const struct training *g, int frame) { return g->pair_weight[(frame - g->singles) / 2]; }

static double block_gradient(struct training *g, const struct block *b, const int *frame, int batch_atoms, char *memory, double *result,
                             double *slope, REAL *by_weight) {
    const struct model model = {g->weight, NULL, g->cutoff, 0};
    struct pass *p = (struct pass *)memory;
    char *rest = memory + ((sizeof(struct pass) + 63) & ~(size_t)63);
    const int atoms = b->start[b->molecules], n = b->molecules;
    double loss = 0;
    int most = 0;
    for (int k = 0; k < n; k++) most += (b->start[k + 1] - b->start[k]) * (b->start[k + 1] - b->start[k] - 1) / 2;
    divide_pass(p, rest, atoms, most);
    look(&p->value, &model, n, b->start, b->species, b->x, rest);
#if DIPOLE
    const double each = 1.0 / ((g->norm == LENGTH ? 1 : 3) * g->batch);
    read(g->weight, &p->value, n, b->start, b->x, result);
    for (int k = 0; k < n; k++) {
        if (frame[k] >= g->singles) {
            double *up = slope + 3 * k, *down = up + 3;
            const double part = each * weight_of_pair(g, frame[k]);
            for (int a = 0; a < 3; a++) up[a] = ((result[3 * k + a] - result[3 * k + 3 + a]) / g->span - g->target[3 * frame[k] + a]) / g->unit;
            loss += part * deviation(g, 3, up, part / (g->unit * g->span));
            for (int a = 0; a < 3; a++) down[a] = -up[a];
            k++;
            continue;
        }
        for (int a = 0; a < 3; a++) slope[3 * k + a] = (result[3 * k + a] - g->target[3 * frame[k] + a]) / g->unit;
        loss += each * deviation(g, 3, slope + 3 * k, each / g->unit);
    }
    loss_back(&model, p, n, b->start, b->species, b->x, slope, by_weight);
#else
    const double each = g->energy_weight / g->batch, per_atom = g->forces_weight / ((g->norm == LENGTH ? 1 : 3) * (double)batch_atoms);
    double *forces = result + n, *along = slope + n;
    read(g->weight, &p->value, n, b->start, result);
    differentiate(&model, &p->value, b->species);
    push(&model, &p->value, forces);
    for (int k = 0; k < n; k++) {
        const int mine = b->start[k + 1] - b->start[k];
        if (frame[k] >= g->singles) {
            const double part = per_atom * weight_of_pair(g, frame[k]);
            for (int i = 0; i < mine; i++) {
                double *up = along + 3 * (b->start[k] + i), *down = up + 3 * mine;
                const double *label = g->forces + 3 * (g->start[frame[k]] + i), *f = forces + 3 * (b->start[k] + i);
                for (int a = 0; a < 3; a++) up[a] = label[a] - (f[a] - f[3 * mine + a]) / g->span;
                loss += part * deviation(g, 3, up, part / g->span);
                for (int a = 0; a < 3; a++) down[a] = -up[a];
            }
            slope[k] = slope[k + 1] = 0;
            k++;
            continue;
        }
        slope[k] = (result[k] - g->target[frame[k]]) / mine;
        loss += each * deviation(g, 1, slope + k, each / mine);
        for (int i = 0; i < mine; i++) {
            double *v = along + 3 * (b->start[k] + i);
            for (int a = 0; a < 3; a++) v[a] = g->forces[3 * (g->start[frame[k]] + i) + a] - forces[3 * (b->start[k] + i) + a];
            loss += per_atom * deviation(g, 3, v, per_atom); /* against the deviation: the derivative of the loss is that of −v */
        }
    }
    loss_back(&model, p, n, b->start, b->species, slope, along, by_weight);
#endif
    return loss;
}

/* The blocks of a batch that are a thread's; the frames of each are copied together, both of a pair into the same. */
static void batch_gradient(struct training *g, int thread, const int *entry) {
    double *x = g->results + g->room * thread, *slope = g->slopes + g->room * thread;
    REAL *by_weight = g->by_weight + (size_t)g->weights * thread;
    int frame[2 * g->batch], start[2 * g->batch + 1], frames = 0, all = 0, atoms_of_batch = 0, number = 0;
    for (int k = 0; k < g->batch; k++) {
        const int pair = entry[k] >= g->singles, first = pair ? g->singles + 2 * (entry[k] - g->singles) : entry[k];
        const int atoms = g->start[first + 1] - g->start[first];
        frame[frames++] = first;
        if (pair) frame[frames++] = first + 1;
        all += pair ? 2 * atoms : atoms, atoms_of_batch += atoms;
    }
    const int share = (all + g->threads - 1) / g->threads, limit = share < g->block ? share : g->block;
    memset(by_weight, 0, sizeof(REAL) * g->weights);
    g->partial[thread] = 0;
    int species[all];
    for (int k = 0; k < frames; number++) {
        struct block b = {0, start, species, x};
        const int *first = frame + k;
        start[0] = 0;
        while (k < frames) {
            const int count = frame[k] < g->singles ? 1 : 2, at = start[b.molecules];
            const int from = g->start[frame[k]], atoms = g->start[frame[k] + count] - from;
            if (at > 0 && at + atoms > limit) break;
            memcpy(x + 3 * at, g->x + 3 * (size_t)from, 3 * sizeof(double) * atoms);
            memcpy(species + at, g->species + from, sizeof(int) * atoms);
            for (int c = 1; c <= count; c++) start[b.molecules + c] = at + atoms / count * c;
            k += count, b.molecules += count;
        }
        if (number % g->threads != thread) continue;
        g->partial[thread] += block_gradient(g, &b, first, atoms_of_batch, g->memory + g->memory_size * thread, x + 3 * (size_t)all, slope,
                                             by_weight);
    }
}

/* ---- optimiser ---- */

/* One step for n ≤ LANES parameters, largest for AMSGrad only (Kingma and Ba 2015; Reddi et al. 2018; Loshchilov and Hutter 2019; as torch
 * has them), and the average. */
struct rates { REAL clip, beta1, beta2, size, root, epsilon, shrink, forget; int amsgrad; };
INLINE V some(const REAL *p, const int n) {
    V v = {0};
    if (n == LANES) return load(p);
    memcpy(&v, p, n * sizeof(REAL));
    return v;
}
INLINE void put(REAL *p, V v, const int n) {
    if (n == LANES) store(p, v);
    else memcpy(p, &v, n * sizeof(REAL));
}

INLINE void adam(const struct rates r, const int n, const REAL *gradient, REAL *vector, REAL *average, REAL *first, REAL *second, REAL *largest) {
    V d = some(gradient, n) * r.clip, m = some(first, n), v = some(second, n), x = some(vector, n), a = some(average, n), root;
    m += (d - m) * (1 - r.beta1);
    v = v * r.beta2 + d * d * (1 - r.beta2);
    put(first, m, n), put(second, v, n);
    if (r.amsgrad) {
        V most = some(largest, n);
        v = below(v, most, most) + (v - v); /* not-a-number stays what it is */
        put(largest, v, n);
    }
    for (int i = 0; i < LANES; i++) root[i] = sizeof(REAL) == 4 ? (REAL)sqrtf((float)v[i]) : (REAL)sqrt((double)v[i]);
    x = x * r.shrink - r.size * m / (root * r.root + r.epsilon);
    a += (x - a) * r.forget;
    put(vector, x, n), put(average, a, n);
}

static void step(struct training *g, double rate, double beta1, double decay) {
    double part[16] = {0}, square = 0; /* sums that do not wait for each other */
    int at = 0;
    for (; at + 16 <= g->parameters; at += 16)
        for (int i = 0; i < 16; i++) part[i] += (double)g->gradient[at + i] * g->gradient[at + i];
    for (; at < g->parameters; at++) part[0] += (double)g->gradient[at] * g->gradient[at];
    for (int i = 0; i < 16; i++) square += part[i];
    const double over = g->clip / (sqrt(square) + 1e-6), number = (double)++g->done;
    const struct rates r = {
        (REAL)(over < 1 || isnan(over) ? over : 1), (REAL)beta1, (REAL)g->beta, (REAL)(rate / (1 - pow(beta1, number))),
        (REAL)(1 / sqrt(1 - pow(g->beta, number))), (REAL)g->epsilon, (REAL)(1 - (g->optimiser == ADAMW ? rate * g->decay : 0)),
        (REAL)(1 - decay), g->optimiser == AMSGRAD,
    };
    const int whole = g->parameters / LANES * LANES;
#define ADAM(i, n) adam(r, n, g->gradient + i, g->vector + i, g->average + i, g->first + i, g->second + i, g->largest ? g->largest + i : NULL)
    for (int i = 0; i < whole; i += LANES) ADAM(i, LANES);
    ADAM(whole, g->parameters - whole);
}

/* Updates with the frames order[updates][batch]; each thread of g->threads calls this with its number. With the optimiser NONE the gradient
 * of the last batch is left in g->gradient. */
void palirs_update(struct training *g, int thread, int updates, const int *order, const double *rate, const double *beta1,
                   const double *decay, double *loss) {
    if (thread == 0) refresh(g);
    meet(&g->gate, g->threads);
    for (int u = 0; u < updates; u++) {
        batch_gradient(g, thread, order + (size_t)u * g->batch);
        meet(&g->gate, g->threads);
        if (thread == 0) {
            loss[u] = 0;
            for (int t = 0; t < g->threads; t++) loss[u] += g->partial[t];
            gather(g);
            if (g->optimiser != NONE) step(g, rate[u], beta1[u], decay[u]), refresh(g);
        }
        meet(&g->gate, g->threads);
    }
}

size_t palirs_train_work(int atoms, int pairs) {
    struct pass p;
    return divide_pass(&p, NULL, atoms, pairs) + sizeof p + 128;
}
