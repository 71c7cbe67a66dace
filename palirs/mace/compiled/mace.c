/* Energies and forces of a MACE potential (Batatia et al. 2022, arXiv:2206.07697) for isolated molecules on a CPU.
 *
 * A few molecules are worked on at a time, so that everything between positions and forces stays in the cache; each pair of atoms is
 * visited once for both of its directions. Forward and backward pass are written out: nothing is recorded. All sums run in an order
 * that depends on the molecule alone, so its forces do not depend on what else is in the batch, to the last bit.
 *
 * "shape.h" is written by layout.py for one architecture. It defines
 *   DIPOLE (or a potential), BYTES of a vector, REAL and the integer BITS of its size, C (channels, padded), LMAX, NY = (LMAX+1)^2, BESSEL,
 *   LAYERS, SPECIES, CORRELATION, tables, and
 *   FOR_TRIPLES(X), which lists the triples X(kind, l1, l3) of the tensor products.
 *
 * Arrays are [atom][component][channel], channels last; components of order l are l*l ... l*l + 2l.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "shape.h"

#ifndef TRAINING
#define TRAINING 0
#endif
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define LANES ((int)(BYTES / sizeof(REAL)))
typedef REAL V __attribute__((vector_size(BYTES), aligned(sizeof(REAL))));
typedef BITS I __attribute__((vector_size(BYTES), aligned(sizeof(REAL))));

INLINE V load(const REAL *p) { return *(const V *)p; }
INLINE void store(REAL *p, V v) { *(V *)p = v; }
INLINE REAL total(V v) {
    REAL sum[LANES];
    store(sum, v);
    UNROLL for (int half = LANES / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* ---- memory: one block, cut into arrays; with base NULL it only counts ---- */

struct layer {
    REAL *h, *up;         /* [atoms][ (l_in+1)^2 ][C] features that come in, and mixed for sending */
    REAL *r;              /* [pairs][paths][C] radial weights */
    REAL *act[DEPTH], *slope[DEPTH]; /* [pairs][width] hidden layers of the radial network: value and derivative */
    REAL *mid;            /* [atoms][middle rows][C] sum over neighbours */
    REAL *a, *poly;       /* [atoms][NY][C], [atoms][ (l_out+1)^2 ][C] */
    REAL *hidden, *tilt;  /* [atoms][READOUT] hidden layer of the read-out of what goes out: value and derivative */
    REAL *dh, *dup, *dr, *dact[DEPTH], *dmid, *da, *dpoly, *dhidden; /* derivatives by these; of hidden layers before the activation */
    REAL *bend[DEPTH], *curl; /* training: second derivative of the activations */
};

/* A model: its weights, and if knots > 0 a table of the radial weights, [layer][knots + 1][value, slope, curvature][paths][C]. */
struct model { const REAL *weight, *table; double cutoff; int knots; };

/* Where a distance lies in the table, and the factors of the two knots beside it, for the radial weights and for their slope. */
struct spot { int knot; REAL value[6], slope[6]; };

struct work {
    struct layer layer[LAYERS + 1];
    double *unit, *length, *y, *dy;      /* [pairs]: direction, distance, harmonics and the result's derivative by them */
    double *dbessel;                     /* [pairs][BESSEL] derivative of the radial functions by the distance */
    REAL *bessel, *dbess;                /* [pairs][BESSEL] */
    struct spot *spot;                   /* [pairs] */
    double *pull;                        /* [pairs] derivative of the result by the distance, through the table */
    int *first, *second, *in, *out, *order;
    int atoms, pairs, group[SPECIES + 1];
};

INLINE void *take(char **top, size_t bytes) {
    char *mine = *top;
    *top += (bytes + 63) & ~(size_t)63;
    return mine;
}

/* Derivatives are no longer needed when the layer below has its own, unless they are kept for training. */
static size_t divide(struct work *w, char *base, size_t atoms, size_t pairs, int keep) {
    char *top = base;
    size_t rows = MIDDLE > NY ? MIDDLE : NY;
    rows = atoms * (HIDDEN_ROWS > rows ? HIDDEN_ROWS : rows);
#define REALS(n) take(&top, (n) * sizeof(REAL))
#define DOUBLES(n) take(&top, (n) * sizeof(double))
#define INTS(n) take(&top, (n) * sizeof(int))
#define SHARED(name, n) (t > 0 && !keep ? w->layer[0].name : (REAL *)REALS(n))
    for (int t = 0; t <= LAYERS; t++) {
        struct layer *l = &w->layer[t];
        l->h = REALS(atoms * HIDDEN_ROWS * C);
        l->dh = t > 1 && !keep ? w->layer[t - 2].dh : (REAL *)REALS(atoms * HIDDEN_ROWS * C);
        if (t == LAYERS) break;
        l->up = REALS(atoms * HIDDEN_ROWS * C);
        l->r = REALS(pairs * PATHS * C);
        for (int d = 0; d < DEPTH; d++) {
            l->act[d] = REALS(pairs * WIDTH[d]);
            l->slope[d] = REALS(pairs * WIDTH[d]);
            l->bend[d] = keep ? REALS(pairs * WIDTH[d]) : NULL;
            l->dact[d] = keep ? REALS(pairs * WIDTH[d]) : d > 1 ? l->dact[d - 2] : SHARED(dact[d], pairs * WIDEST);
        }
        l->mid = REALS(atoms * MIDDLE * C);
        l->a = REALS(atoms * NY * C);
        l->poly = REALS(atoms * HIDDEN_ROWS * C);
        l->dup = SHARED(dup, atoms * HIDDEN_ROWS * C);
        l->dr = SHARED(dr, pairs * PATHS * C);
        l->dmid = SHARED(dmid, atoms * MIDDLE * C);
        l->da = SHARED(da, atoms * NY * C);
        l->dpoly = keep ? REALS(atoms * HIDDEN_ROWS * C) : l->poly;
        l->hidden = SHARED(hidden, atoms * READOUT); l->tilt = SHARED(tilt, atoms * READOUT);
        l->curl = SHARED(curl, atoms * READOUT); l->dhidden = SHARED(dhidden, atoms * READOUT);
    }
    w->unit = DOUBLES(3 * pairs); w->length = DOUBLES(pairs);
    w->y = DOUBLES(NY * pairs); w->dy = DOUBLES(NY * pairs);
    w->dbessel = DOUBLES(BESSEL * pairs);
    w->bessel = REALS(BESSEL * pairs); w->dbess = REALS(pairs * BESSEL);
    w->spot = take(&top, pairs * sizeof(struct spot)); w->pull = DOUBLES(pairs);
    w->first = INTS(pairs); w->second = INTS(pairs);
    w->in = INTS(rows > pairs ? rows : pairs); w->out = INTS(rows > pairs ? rows : pairs); w->order = INTS(atoms);
    return (size_t)(top - base);
}

size_t palirs_work(int atoms, int pairs) {
    struct work w;
    return divide(&w, NULL, atoms, pairs, 0);
}

/* ---- linear algebra: rows (given by offsets) times a matrix [k][n]; n is a multiple of LANES ---- */

#define HEIGHT 6 /* rows and */
#define TILE 2   /* vectors of each that are held in registers */
INLINE void rows_times(const int tile, const int *in, const int *out, const REAL *x, const REAL *w, int k, int n, REAL *y, int add) {
    V sum[HEIGHT][TILE];
    UNROLL for (int i = 0; i < HEIGHT; i++)
        UNROLL for (int v = 0; v < tile; v++) sum[i][v] = add ? load(y + out[i] + v * LANES) : (V){0};
    for (int j = 0; j < k; j++) {
        V b[TILE];
        UNROLL for (int v = 0; v < tile; v++) b[v] = load(w + (size_t)j * n + v * LANES);
        UNROLL for (int i = 0; i < HEIGHT; i++)
            UNROLL for (int v = 0; v < tile; v++) sum[i][v] += x[in[i] + j] * b[v];
    }
    UNROLL for (int i = 0; i < HEIGHT; i++)
        UNROLL for (int v = 0; v < tile; v++) store(y + out[i] + v * LANES, sum[i][v]);
}

/* What is left over is filled up with its last row: with code of its own it would be rounded differently, and the forces of a molecule
 * would depend on what else is in its block. */
static void matmul(int m, const int *in, const int *out, const REAL *x, const REAL *w, int k, int n, REAL *y, int add) {
    int last_in[HEIGHT], last_out[HEIGHT], whole = m / HEIGHT * HEIGHT;
    for (int i = 0; i < HEIGHT && m > 0; i++) {
        int row = whole + i < m ? whole + i : m - 1;
        last_in[i] = in[row], last_out[i] = out[row];
    }
#define COLUMNS(tile)                                                                                                                      \
    for (int i = 0; i < whole; i += HEIGHT) rows_times(tile, in + i, out + i, x, w + col, k, n, y + col, add);                             \
    if (whole < m) rows_times(tile, last_in, last_out, x, w + col, k, n, y + col, add)
    int col = 0;
    for (; col + TILE * LANES <= n; col += TILE * LANES) { COLUMNS(TILE); }
    for (; col < n; col += LANES) { COLUMNS(1); }
}

/* Rows of order l of the atoms order[from..to): one per component. */
static int rows_of(const int *order, int from, int to, int l, int stride_in, int stride_out, int *in, int *out) {
    int m = 0;
    for (int i = from; i < to; i++)
        for (int c = l * l; c < (l + 1) * (l + 1); c++, m++) {
            in[m] = (order[i] * stride_in + c) * C;
            out[m] = (order[i] * stride_out + c) * C;
        }
    return m;
}

static int plain_rows(int count, int stride_in, int stride_out, int *in, int *out) {
    for (int i = 0; i < count; i++) in[i] = i * stride_in, out[i] = i * stride_out;
    return count;
}

INLINE V below(V x, V bound, V instead) { /* where x < bound take the other */
    I mask = x < bound;
    return (V)((mask & (I)instead) | (~mask & (I)x));
}

/* To the last digits; below -87 the result is small, not zero. */
INLINE V exponential(V x) {
    const V low = (V){0} - 87, zero = {0};
    x = below(x, low, low);
    x = zero - below(zero - x, low, low);
    V shifted = x * (REAL)1.4426950408889634 + (REAL)ROUND, n = shifted - (REAL)ROUND; /* adding it rounds to an integer in the last bits */
    V r = (x - n * (REAL)0.693359375) + n * (REAL)2.12194440054690583e-4, e = zero + 1;
    UNROLL for (int k = sizeof(REAL) == 4 ? 8 : 14; k > 0; k--) e = 1 + e * r * (REAL)(1.0 / k);
    return (V)((I)e + ((I)shifted << MANTISSA));
}

/* z σ(z), its derivative, and for training the second one; n is a multiple of LANES */
static void silu(int n, REAL *value, REAL *slope, REAL *bend) {
    for (int i = 0; i < n; i += LANES) {
        V z = load(value + i), s = 1 / (1 + exponential((V){0} - z));
        store(value + i, z * s + (z - z)); /* not-a-number stays what it is */
        store(slope + i, s * (1 + z * (1 - s)));
        if (TRAINING) store(bend + i, s * (1 - s) * (2 + z * (1 - 2 * s)));
    }
}

/* ---- geometry of pairs, in double precision ---- */

static void harmonics(const double *u, double *y) {
    y[0] = 1;
    for (int a = 0; a < 3 && LMAX > 0; a++) y[1 + a] = 1.7320508075688772 * u[a];
    for (int m = 4; m < NY; m++) y[m] = 0;
    for (int n = 0; n < LADDERS; n++) y[LADDER[n].m] += LADDER[n].factor * y[LADDER[n].a] * y[LADDER[n].b];
}

/* Derivative by u, given that by y; overwrites dy. */
static void harmonics_back(const double *y, double *dy, double *du) {
    for (int n = LADDERS - 1; n >= 0; n--) {
        double d = LADDER[n].factor * dy[LADDER[n].m];
        dy[LADDER[n].a] += d * y[LADDER[n].b];
        dy[LADDER[n].b] += d * y[LADDER[n].a];
    }
    for (int a = 0; a < 3; a++) du[a] = LMAX > 0 ? 1.7320508075688772 * dy[1 + a] : 0;
}

/* sqrt(2/rc) sin(nπr/rc)/r times the polynomial envelope (p = 5), and its derivative */
static void radial(double r, double cutoff, REAL *value, double *slope) {
    const double p = ENVELOPE, x = r / cutoff, xp = pow(x, p - 1);
    const double envelope = 1 - (p + 1) * (p + 2) / 2 * xp * x + p * (p + 2) * xp * x * x - p * (p + 1) / 2 * xp * x * x * x;
    const double fall = (-(p + 1) * (p + 2) / 2 * p * xp + p * (p + 2) * (p + 1) * xp * x - p * (p + 1) / 2 * (p + 2) * xp * x * x) / cutoff;
    const double k = 3.14159265358979323846 / cutoff, norm = sqrt(2 / cutoff);
    for (int n = 0; n < BESSEL; n++) {
        if (n >= BASIS) { value[n] = 0, slope[n] = 0; continue; }
        double s = sin((n + 1) * k * r), c = cos((n + 1) * k * r);
        value[n] = (REAL)(norm * s / r * envelope);
        slope[n] = norm * (((n + 1) * k * c - s / r) / r * envelope + s / r * fall);
    }
}

/* ---- radial weights from a table: quintic Hermite splines, whose first two derivatives are continuous ---- */

static struct spot find_spot(const struct model *m, double r) {
    const double s = r / m->cutoff * m->knots, h = m->knots / m->cutoff; /* at the last knot, and for what is no number: */
    const int knot = s < m->knots ? (int)s : m->knots - 1;
    const double t = s - knot, t2 = t * t, t3 = t2 * t, u = 1 - t;
    const double value[6] = {
        1 - t3 * (10 - 15 * t + 6 * t2), t - t3 * (6 - 8 * t + 3 * t2), 0.5 * t2 * u * u * u,
        t3 * (10 - 15 * t + 6 * t2),     -t3 * (4 - 7 * t + 3 * t2),    0.5 * t3 * u * u,
    };
    const double slope[6] = {
        -30 * t2 * u * u, 1 - t2 * (18 - 32 * t + 15 * t2),  0.5 * t * u * u * (2 - 5 * t),
        30 * t2 * u * u,  -t2 * (12 - 28 * t + 15 * t2),     0.5 * t2 * u * (3 - 5 * t),
    };
    struct spot spot = {.knot = knot};
    for (int i = 0; i < 6; i++) spot.value[i] = (REAL)value[i], spot.slope[i] = (REAL)(slope[i] * h);
    return spot;
}

INLINE const REAL *knots_of(const struct model *m, const struct shape *s) { return m->table + (size_t)(m->knots + 1) * 3 * C * s->paths; }

static void look_up(const struct model *m, const struct shape *s, const struct work *w, struct layer *l) {
    const int n = (s->paths_end - s->paths) * C;
    for (int e = 0; e < w->pairs; e++) {
        const REAL *knot = knots_of(m, s) + (size_t)w->spot[e].knot * 3 * n, *f = w->spot[e].value;
        for (int c = 0; c < n; c += LANES) {
            V sum = f[0] * load(knot + c);
            UNROLL for (int i = 1; i < 6; i++) sum += f[i] * load(knot + (size_t)i * n + c);
            store(l->r + (size_t)e * n + c, sum);
        }
    }
}

static void look_up_back(const struct model *m, const struct shape *s, const struct work *w, const struct layer *l) {
    const int n = (s->paths_end - s->paths) * C;
    for (int e = 0; e < w->pairs; e++) {
        const REAL *knot = knots_of(m, s) + (size_t)w->spot[e].knot * 3 * n, *f = w->spot[e].slope;
        V sum = {0};
        for (int c = 0; c < n; c += LANES) {
            V slope = f[0] * load(knot + c);
            UNROLL for (int i = 1; i < 6; i++) slope += f[i] * load(knot + (size_t)i * n + c);
            sum += slope * load(l->dr + (size_t)e * n + c);
        }
        w->pull[e] += total(sum);
    }
}

/* ---- tensor product of an edge: one path, both directions are calls of these ---- */

INLINE void path_forward(const int d1, const int d3, REAL sign, const REAL *t, const REAL *r, const REAL *h, REAL *mid, int stride) {
    for (int c = 0; c < C; c += LANES) {
        V radial = load(r + c) * sign, g[7];
        UNROLL for (int i = 0; i < d1; i++) g[i] = radial * load(h + i * C + c);
        UNROLL for (int k = 0; k < d3; k++) {
            V sum = load(mid + (size_t)k * stride + c);
            UNROLL for (int i = 0; i < d1; i++) sum += t[i * d3 + k] * g[i];
            store(mid + (size_t)k * stride + c, sum);
        }
    }
}

INLINE void path_backward(const int d1, const int d3, REAL sign, const REAL *t, const REAL *r, const REAL *h, const REAL *dmid, int stride,
                          V *dt, REAL *dr, REAL *dh) {
    for (int c = 0; c < C; c += LANES) {
        V radial = load(r + c), dm[9], dradial = load(dr + c);
        UNROLL for (int k = 0; k < d3; k++) dm[k] = load(dmid + (size_t)k * stride + c) * sign;
        UNROLL for (int i = 0; i < d1; i++) {
            V hi = load(h + i * C + c), g = radial * hi, s = {0};
            UNROLL for (int k = 0; k < d3; k++) {
                s += t[i * d3 + k] * dm[k];
                dt[i * d3 + k] += g * dm[k];
            }
            dradial += hi * s;
            if (dh) store(dh + i * C + c, load(dh + i * C + c) + radial * s);
        }
        store(dr + c, dradial);
    }
}

/* Components of the path tensors t[m1][m3] = Σ_m2 cg[m1 m2 m3] y[m2] of all paths of a layer. */
INLINE void couple(const struct shape *s, const double *y, REAL *t) {
    for (int i = 0; i < s->tensor; i++) t[i] = 0;
    for (int n = s->couplings; n < s->couplings_end; n++) t[COUPLING[n].t] += COUPLING[n].factor * (REAL)y[COUPLING[n].y];
}

static void convolve(const struct shape *s, const struct work *w, struct layer *l) {
    memset(l->mid, 0, sizeof(REAL) * (size_t)w->atoms * s->middle * C);
    for (int e = 0; e < w->pairs; e++) {
        REAL t[TENSOR];
        couple(s, w->y + (size_t)e * NY, t);
        for (int p = s->paths; p < s->paths_end; p++) {
            const struct path *q = &PATH[p];
            const REAL *r = l->r + ((size_t)e * (s->paths_end - s->paths) + p - s->paths) * C;
            for (int back = 0; back < 2; back++) { /* harmonics point from sender to receiver */
                int from = back ? w->second[e] : w->first[e], to = back ? w->first[e] : w->second[e];
                REAL sign = back && q->l2 % 2 ? -1 : 1;
                const REAL *h = l->up + ((size_t)from * s->rows_in + q->l1 * q->l1) * C;
                REAL *mid = l->mid + ((size_t)to * s->middle + q->row) * C;
                switch (q->kind) {
#define FORWARD(kind, l1, l3) case kind: path_forward(2 * l1 + 1, 2 * l3 + 1, sign, t + q->t, r, h, mid, q->stride * C); break;
                    FOR_TRIPLES(FORWARD)
                }
            }
        }
    }
}

static void convolve_back(const struct shape *s, const struct work *w, struct layer *l, int inner) {
    int paths = s->paths_end - s->paths;
    memset(l->dr, 0, sizeof(REAL) * (size_t)w->pairs * paths * C);
    memset(l->dup, 0, sizeof(REAL) * (size_t)w->atoms * s->rows_in * C);
    for (int e = 0; e < w->pairs; e++) {
        REAL t[TENSOR];
        V dt[TENSOR];
        couple(s, w->y + (size_t)e * NY, t);
        memset(dt, 0, sizeof dt);
        for (int p = s->paths; p < s->paths_end; p++) {
            const struct path *q = &PATH[p];
            size_t place = ((size_t)e * paths + p - s->paths) * C;
            for (int back = 0; back < 2; back++) {
                int from = back ? w->second[e] : w->first[e], to = back ? w->first[e] : w->second[e];
                REAL sign = back && q->l2 % 2 ? -1 : 1;
                size_t row = ((size_t)from * s->rows_in + q->l1 * q->l1) * C;
                const REAL *dmid = l->dmid + ((size_t)to * s->middle + q->row) * C;
                REAL *dh = inner ? l->dup + row : NULL;
                switch (q->kind) {
#define BACKWARD(kind, l1, l3)                                                                                                             \
    case kind:                                                                                                                             \
        path_backward(2 * l1 + 1, 2 * l3 + 1, sign, t + q->t, l->r + place, l->up + row, dmid, q->stride * C, dt + q->t, l->dr + place, dh); \
        break;
                    FOR_TRIPLES(BACKWARD)
                }
            }
        }
        V dy[NY];
        memset(dy, 0, sizeof dy);
        for (int n = s->couplings; n < s->couplings_end; n++) dy[COUPLING[n].y] += COUPLING[n].factor * dt[COUPLING[n].t];
        for (int m = 0; m < NY; m++) w->dy[(size_t)e * NY + m] += total(dy[m]);
    }
}

/* ---- symmetric contraction: a polynomial of the components at each atom, channel by channel ----
 *
 * Monomials that differ in their last factor only follow each other; the product of the others, their head, is made once. */

INLINE V head(const int q, const V *x) {
    V h = CORRELATION > 1 ? x[HEAD[q].factor[0]] : (V){0} + 1;
    UNROLL for (int f = 1; f < CORRELATION - 1; f++) h *= x[HEAD[q].factor[f]];
    return h;
}

static void contract(const struct shape *s, const REAL *weight, int atoms, const int *species, const REAL *a, REAL *poly) {
    for (int i = 0; i < atoms; i++) {
        const REAL *w = weight + s->poly + (size_t)species[i] * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES) {
            V x[NY + 1], b[HIDDEN_ROWS];
            for (int m = 0; m < NY; m++) x[m] = load(a + ((size_t)i * NY + m) * C + c);
            x[NY] = (V){0} + 1;
            for (int m = 0; m < s->rows_out; m++) b[m] = (V){0};
            for (int q = s->heads; q < s->heads_end; q++) {
                const V h = head(q, x);
                for (int n = HEAD[q].monomials; n < HEAD[q + 1].monomials; n++) {
                    const V product = h * x[MONOMIAL[n].last];
                    for (int t = MONOMIAL[n].terms; t < MONOMIAL[n + 1].terms; t++)
                        b[TERM[t]] += load(w + (size_t)(t - s->terms) * C + c) * product;
                }
            }
            for (int m = 0; m < s->rows_out; m++) store(poly + ((size_t)i * s->rows_out + m) * C + c, b[m]);
        }
    }
}

static void contract_back(const struct shape *s, const REAL *weight, int atoms, const int *species, const REAL *a, const REAL *dpoly,
                          REAL *da) {
    for (int i = 0; i < atoms; i++) {
        const REAL *w = weight + s->poly + (size_t)species[i] * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES) {
            V x[NY + 1], dx[NY + 1], db[HIDDEN_ROWS];
            for (int m = 0; m < NY; m++) x[m] = load(a + ((size_t)i * NY + m) * C + c), dx[m] = (V){0};
            x[NY] = (V){0} + 1, dx[NY] = (V){0};
            for (int m = 0; m < s->rows_out; m++) db[m] = load(dpoly + ((size_t)i * s->rows_out + m) * C + c);
            for (int q = s->heads; q < s->heads_end; q++) {
                const V h = head(q, x);
                V dh = {0};
                for (int n = HEAD[q].monomials; n < HEAD[q + 1].monomials; n++) {
                    V d = {0};
                    for (int t = MONOMIAL[n].terms; t < MONOMIAL[n + 1].terms; t++)
                        d += load(w + (size_t)(t - s->terms) * C + c) * db[TERM[t]];
                    dx[MONOMIAL[n].last] += d * h;
                    dh += d * x[MONOMIAL[n].last];
                }
                UNROLL for (int f = 0; f < CORRELATION - 1; f++) {
                    V others = dh;
                    UNROLL for (int g = 0; g < CORRELATION - 1; g++)
                        if (g != f) others *= x[HEAD[q].factor[g]];
                    dx[HEAD[q].factor[f]] += others;
                }
            }
            for (int m = 0; m < NY; m++) store(da + ((size_t)i * NY + m) * C + c, dx[m]);
        }
    }
}

/* ---- one layer, forward and backward ---- */

/* Atoms in a group: those of one element where each has its own mixing of messages, else all. */
INLINE int first_of(const struct shape *s, const struct work *w, int g) { return s->groups > 1 ? w->group[g] : 0; }
INLINE int end_of(const struct shape *s, const struct work *w, int g) { return s->groups > 1 ? w->group[g + 1] : w->atoms; }

/* Rows of one order of all paths of a group of atoms, and of the mixed ones. */
static int middle_rows(const struct shape *s, const struct work *w, int g, int o, int *middle, int *mixed) {
    int m = 0;
    for (int i = first_of(s, w, g); i < end_of(s, w, g); i++)
        for (int c = 0; c < 2 * o + 1; c++, m++) {
            middle[m] = (w->order[i] * s->middle + s->row[o] + c * s->count[o]) * C;
            mixed[m] = (w->order[i] * NY + o * o + c) * C;
        }
    return m;
}

/* Radial weights by the network. */
static void network(const struct shape *s, const REAL *weight, struct work *w, struct layer *l) {
    const int n = (s->paths_end - s->paths) * C, pairs = w->pairs;
    const REAL *x = w->bessel;
    for (int d = 0, k = BESSEL; d < DEPTH; k = WIDTH[d], x = l->act[d], d++) {
        plain_rows(pairs, k, WIDTH[d], w->in, w->out);
        matmul(pairs, w->in, w->out, x, weight + s->radial[d], k, WIDTH[d], l->act[d], 0);
        silu(pairs * WIDTH[d], l->act[d], l->slope[d], l->bend[d]);
    }
    plain_rows(pairs, WIDTH[DEPTH - 1], n, w->in, w->out);
    matmul(pairs, w->in, w->out, x, weight + s->radial[DEPTH], WIDTH[DEPTH - 1], n, l->r, 0);
}

static void network_back(const struct shape *s, const REAL *weight, struct work *w, struct layer *l) {
    const int n = (s->paths_end - s->paths) * C, pairs = w->pairs;
    plain_rows(pairs, n, WIDTH[DEPTH - 1], w->in, w->out);
    matmul(pairs, w->in, w->out, l->dr, weight + s->radial_back[DEPTH], n, WIDTH[DEPTH - 1], l->dact[DEPTH - 1], 0);
    for (int d = DEPTH - 1; d >= 0; d--) {
        const int k = d ? WIDTH[d - 1] : BESSEL;
        for (int i = 0; i < pairs * WIDTH[d]; i++) {
            if (TRAINING) l->bend[d][i] *= l->dact[d][i];
            l->dact[d][i] *= l->slope[d][i];
        }
        plain_rows(pairs, WIDTH[d], k, w->in, w->out);
        matmul(pairs, w->in, w->out, l->dact[d], weight + s->radial_back[d], WIDTH[d], k, d ? l->dact[d - 1] : w->dbess, d == 0);
    }
}

static void forward(const struct shape *s, const struct model *model, struct work *w, int t, const int *species) {
    const REAL *weight = model->weight;
    struct layer *l = &w->layer[t], *next = &w->layer[t + 1];
    const int atoms = w->atoms;
    if (t == 0)
        for (int i = 0; i < atoms; i++) memcpy(l->up + (size_t)i * C, weight + s->up + (size_t)species[i] * C, C * sizeof(REAL));
    else
        for (int o = 0; o <= s->l_in; o++) {
            int m = rows_of(w->order, 0, atoms, o, s->rows_in, s->rows_in, w->in, w->out);
            matmul(m, w->in, w->out, l->h, weight + s->up + (size_t)o * C * C, C, C, l->up, 0);
        }
    if (model->knots) look_up(model, s, w, l);
    else network(s, weight, w, l);
    convolve(s, w, l);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) { /* all paths that end in order o are mixed at once */
            int m = middle_rows(s, w, g, o, w->in, w->out);
            matmul(m, w->in, w->out, l->mid, weight + s->linear[o] + (size_t)g * s->count[o] * C * C, s->count[o] * C, C, l->a, 0);
        }
    contract(s, weight, atoms, species, l->a, l->poly);
    for (int o = 0; o <= s->l_out; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_out, s->rows_out, w->in, w->out);
        matmul(m, w->in, w->out, l->poly, weight + s->product + (size_t)o * C * C, C, C, next->h, 0);
        for (int g = 0; g < SPECIES && t > 0; g++) {
            m = rows_of(w->order, w->group[g], w->group[g + 1], o, s->rows_in, s->rows_out, w->in, w->out);
            matmul(m, w->in, w->out, l->h, weight + s->skip + ((size_t)g * (s->l_out + 1) + o) * C * C, C, C, next->h, 1);
        }
    }
    for (int i = 0; i < atoms && t == 0 && s->residual; i++)
        for (int c = 0; c < C; c++) next->h[(size_t)i * s->rows_out * C + c] += weight[s->table + (size_t)species[i] * C + c];
}

/* From the derivative by what the layer gives to the one by what it gets; adds to those by harmonics and by what gives radial weights. */
static void backward(const struct shape *s, const struct model *model, struct work *w, int t, const int *species) {
    const REAL *weight = model->weight;
    struct layer *l = &w->layer[t], *next = &w->layer[t + 1];
    const int atoms = w->atoms;
    if (t > 0) memset(l->dh, 0, sizeof(REAL) * (size_t)atoms * s->rows_in * C);
    for (int o = 0; o <= s->l_out; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_out, s->rows_out, w->in, w->out);
        matmul(m, w->in, w->out, next->dh, weight + s->product_back + (size_t)o * C * C, C, C, l->dpoly, 0);
        for (int g = 0; g < SPECIES && t > 0; g++) {
            m = rows_of(w->order, w->group[g], w->group[g + 1], o, s->rows_out, s->rows_in, w->in, w->out);
            matmul(m, w->in, w->out, next->dh, weight + s->skip_back + ((size_t)g * (s->l_out + 1) + o) * C * C, C, C, l->dh, 0);
        }
    }
    contract_back(s, weight, atoms, species, l->a, l->dpoly, l->da);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) {
            int m = middle_rows(s, w, g, o, w->out, w->in);
            matmul(m, w->in, w->out, l->da, weight + s->linear_back[o] + (size_t)g * s->count[o] * C * C, C, s->count[o] * C, l->dmid, 0);
        }
    convolve_back(s, w, l, t > 0 || TRAINING);
    for (int o = 0; o <= s->l_in && t > 0; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_in, s->rows_in, w->in, w->out);
        matmul(m, w->in, w->out, l->dup, weight + s->up_back + (size_t)o * C * C, C, C, l->dh, 1);
    }
    if (model->knots) look_up_back(model, s, w, l);
    else network_back(s, weight, w, l);
}

/* ---- the whole ---- */

static void find_pairs(struct work *w, const struct model *m, int molecules, const int *start, const double *x) {
    int pairs = 0;
    for (int k = 0; k < molecules; k++)
        for (int i = start[k]; i < start[k + 1]; i++)
            for (int j = i + 1; j < start[k + 1]; j++) {
                double v[3] = {x[3 * j] - x[3 * i], x[3 * j + 1] - x[3 * i + 1], x[3 * j + 2] - x[3 * i + 2]};
                double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
                if (r >= m->cutoff) continue; /* written so that not-a-number is kept and shows in the forces */
                w->first[pairs] = i, w->second[pairs] = j, w->length[pairs] = r;
                for (int a = 0; a < 3; a++) w->unit[3 * pairs + a] = v[a] / r;
                harmonics(w->unit + 3 * pairs, w->y + (size_t)NY * pairs);
                if (m->knots) w->spot[pairs] = find_spot(m, r);
                else radial(r, m->cutoff, w->bessel + (size_t)BESSEL * pairs, w->dbessel + (size_t)BESSEL * pairs);
                pairs++;
            }
    w->pairs = pairs;
}

static void sort_by_species(struct work *w, const int *species) {
    int n = 0;
    for (int s = 0; s < SPECIES; s++) {
        w->group[s] = n;
        for (int i = 0; i < w->atoms; i++)
            if (species[i] == s) w->order[n++] = i;
    }
    w->group[SPECIES] = n;
}

/* Features of all layers; memory keeps what the backward pass needs. */
static void look(struct work *w, const struct model *m, int molecules, const int *start, const int *species, const double *x, char *memory) {
    int most = 0;
    for (int k = 0; k < molecules; k++) most += (start[k + 1] - start[k]) * (start[k + 1] - start[k] - 1) / 2;
    divide(w, memory, start[molecules], most, TRAINING);
    w->atoms = start[molecules];
    find_pairs(w, m, molecules, start, x);
    sort_by_species(w, species);
    for (int t = 0; t < LAYERS; t++) forward(&SHAPE[t], m, w, t, species);
}

/* Hidden layer of the read-out of layer t. */
static void read_hidden(const REAL *weight, struct work *w, int t) {
    struct layer *l = &w->layer[t];
    plain_rows(w->atoms, SHAPE[t].rows_out * C, READOUT, w->in, w->out);
    matmul(w->atoms, w->in, w->out, w->layer[t + 1].h, weight + SHAPE[t].inner, C, READOUT, l->hidden, 0);
    silu(w->atoms * READOUT, l->hidden, l->tilt, l->curl);
}

static void read_hidden_back(const REAL *weight, struct work *w, int t) {
    plain_rows(w->atoms, READOUT, SHAPE[t].rows_out * C, w->in, w->out);
    matmul(w->atoms, w->in, w->out, w->layer[t].dhidden, weight + SHAPE[t].inner_back, READOUT, C, w->layer[t + 1].dh, 1);
}

#if DIPOLE

static void centre_of(int from, int to, const double *x, double *centre) {
    for (int a = 0; a < 3; a++) centre[a] = 0;
    for (int i = from; i < to; i++)
        for (int a = 0; a < 3; a++) centre[a] += x[3 * i + a] / (to - from);
}

/* Each layer gives every atom a vector and a charge: μ = Σ (d + q (r − r̄)), the charges being shifted to sum to zero. */
static void read(const REAL *weight, struct work *w, int molecules, const int *start, const double *x, double *dipole) {
    for (int k = 0; k < 3 * molecules; k++) dipole[k] = 0;
    for (int t = 0; t < LAYERS; t++) {
        const struct shape *s = &SHAPE[t];
        read_hidden(weight, w, t);
        for (int k = 0; k < molecules; k++) {
            double centre[3];
            centre_of(start[k], start[k + 1], x, centre);
            for (int i = start[k]; i < start[k + 1]; i++) {
                const REAL *h = w->layer[t + 1].h + (size_t)i * s->rows_out * C;
                double charge = 0;
                for (int n = 0; n < READOUT; n++) charge += (double)w->layer[t].hidden[i * READOUT + n] * weight[s->outer + n];
                for (int a = 0; a < 3; a++) {
                    double vector = 0;
                    for (int c = 0; c < C; c++) vector += (double)h[(1 + a) * C + c] * weight[s->readout + c];
                    dipole[3 * k + a] += vector + charge * (x[3 * i + a] - centre[a]);
                }
            }
        }
    }
}

/* Dipoles [molecules][3]. The read-outs carry the scale. */
void palirs_dipoles(const struct model *m, int molecules, const int *start, const int *species, const double *x, char *memory,
                    double *dipole) {
    struct work w;
    look(&w, m, molecules, start, species, x, memory);
    read(m->weight, &w, molecules, start, x, dipole);
}

#else

/* Interaction energies [molecules]. The read-outs carry the scale. */
static void read(const REAL *weight, struct work *w, int molecules, const int *start, double *energy) {
    read_hidden(weight, w, LAYERS - 1);
    for (int k = 0; k < molecules; k++) {
        energy[k] = 0;
        for (int i = start[k]; i < start[k + 1]; i++) {
            for (int n = 0; n < READOUT; n++)
                energy[k] += (double)w->layer[LAYERS - 1].hidden[i * READOUT + n] * weight[SHAPE[LAYERS - 1].outer + n];
            for (int t = 1; t < LAYERS; t++)
                for (int c = 0; c < C; c++)
                    energy[k] += (double)w->layer[t].h[(size_t)i * SHAPE[t - 1].rows_out * C + c] * weight[SHAPE[t - 1].readout + c];
        }
    }
}

/* Derivatives of the sum of the energies by everything. */
static void differentiate(const struct model *m, struct work *w, const int *species) {
    const REAL *weight = m->weight;
    struct layer *last = &w->layer[LAYERS - 1];
    const int atoms = w->atoms;
    for (int i = 0; i < atoms; i++)
        for (int n = 0; n < READOUT; n++) last->dhidden[i * READOUT + n] = last->tilt[i * READOUT + n] * weight[SHAPE[LAYERS - 1].outer + n];
    memset(w->layer[LAYERS].dh, 0, sizeof(REAL) * (size_t)atoms * SHAPE[LAYERS - 1].rows_out * C);
    read_hidden_back(weight, w, LAYERS - 1);
    memset(w->dy, 0, sizeof(double) * (size_t)w->pairs * NY);
    memset(w->dbess, 0, sizeof(REAL) * (size_t)w->pairs * BESSEL);
    memset(w->pull, 0, sizeof(double) * (size_t)w->pairs);
    for (int t = LAYERS - 1; t >= 0; t--) {
        backward(&SHAPE[t], m, w, t, species);
        for (int i = 0; i < atoms && t > 0; i++)
            for (int c = 0; c < C; c++) w->layer[t].dh[(size_t)i * SHAPE[t].rows_in * C + c] += weight[SHAPE[t - 1].readout + c];
    }
}

/* Forces [atoms][3] from the derivatives by harmonics and radial functions. */
static void push(const struct model *m, const struct work *w, double *forces) {
    memset(forces, 0, sizeof(double) * 3 * (size_t)w->atoms);
    for (int e = 0; e < w->pairs; e++) {
        const double *u = w->unit + 3 * e;
        double du[3], along = 0, dr = m->knots ? w->pull[e] : 0;
        harmonics_back(w->y + (size_t)e * NY, w->dy + (size_t)e * NY, du);
        for (int n = 0; n < BESSEL && !m->knots; n++) dr += w->dbess[(size_t)e * BESSEL + n] * w->dbessel[(size_t)e * BESSEL + n];
        for (int a = 0; a < 3; a++) along += u[a] * du[a];
        for (int a = 0; a < 3; a++) {
            double d = dr * u[a] + (du[a] - along * u[a]) / w->length[e];
            forces[3 * w->first[e] + a] += d;
            forces[3 * w->second[e] + a] -= d;
        }
    }
}

/* Interaction energies [molecules] and forces [atoms][3]. */
void palirs_forces(const struct model *m, int molecules, const int *start, const int *species, const double *x, char *memory,
                   double *energy, double *forces) {
    struct work w;
    look(&w, m, molecules, start, species, x, memory);
    read(m->weight, &w, molecules, start, energy);
    differentiate(m, &w, species);
    push(m, &w, forces);
}

#endif
