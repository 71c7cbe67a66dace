/* Energies and forces of a MACE potential (Batatia et al. 2022, arXiv:2206.07697) for isolated molecules on a CPU.
 *
 * A few molecules are worked on at a time, so that everything between positions and forces stays in the cache; each pair of atoms is
 * visited once for both of its directions. Forward and backward pass are written out: nothing is recorded. All sums run in an order
 * that depends on the molecule alone, so its forces do not depend on what else is in the batch, to the last bit.
 *
 * "shape.h" is written by layout.py for one architecture. It defines
 *   REAL and the integer BITS of its size, C (channels, padded), LMAX, NY = (LMAX+1)^2, BESSEL, LAYERS, SPECIES, CORRELATION, the tables declared below, and
 *   FOR_TRIPLES(X), which lists the triples X(kind, l1, l3) of the tensor products.
 *
 * Arrays are [atom][component][channel], channels last; components of order l are l*l ... l*l + 2l.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "shape.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define BYTES 32
#define LANES ((int)(BYTES / sizeof(REAL)))
typedef REAL V __attribute__((vector_size(BYTES), aligned(sizeof(REAL))));
typedef BITS I __attribute__((vector_size(BYTES), aligned(sizeof(REAL))));

INLINE V load(const REAL *p) { return *(const V *)p; }
INLINE void store(REAL *p, V v) { *(V *)p = v; }

/* ---- memory: one block, cut into arrays; with base NULL it only counts ---- */

struct layer {            /* what the backward pass needs of a layer */
    REAL *h, *up;         /* [atoms][ (l_in+1)^2 ][C] features that come in, and mixed for sending */
    REAL *r;              /* [pairs][paths][C] radial weights */
    REAL *act[DEPTH], *slope[DEPTH]; /* [pairs][width] hidden layers of the radial network: value and derivative */
    REAL *mid;            /* [atoms][middle rows][C] sum over neighbours */
    REAL *a, *poly;       /* [atoms][NY][C], [atoms][ (l_out+1)^2 ][C] */
};

struct work {
    struct layer layer[LAYERS + 1];
    double *unit, *length, *y, *dy;      /* [pairs]: direction, distance, harmonics and the energy's derivative by them */
    double *dbessel;                     /* [pairs][BESSEL] derivative of the radial functions by the distance */
    REAL *bessel;                        /* [pairs][BESSEL] */
    int *first, *second, *in, *out, *order;
    REAL *dh, *dnext, *dup, *da, *dmid, *dr, *dact, *dbess;
    REAL *hidden, *slope;
};

INLINE void *take(char **top, size_t bytes) {
    char *mine = *top;
    *top += (bytes + 63) & ~(size_t)63;
    return mine;
}

static size_t divide(struct work *w, char *base, size_t atoms, size_t pairs) {
    char *top = base;
    size_t rows = MIDDLE > NY ? MIDDLE : NY;
    rows = atoms * (HIDDEN_ROWS > rows ? HIDDEN_ROWS : rows);
#define REALS(n) take(&top, (n) * sizeof(REAL))
#define DOUBLES(n) take(&top, (n) * sizeof(double))
#define INTS(n) take(&top, (n) * sizeof(int))
    for (int t = 0; t <= LAYERS; t++) {
        struct layer *l = &w->layer[t];
        l->h = REALS(atoms * HIDDEN_ROWS * C);
        if (t == LAYERS) break;
        l->up = REALS(atoms * HIDDEN_ROWS * C);
        l->r = REALS(pairs * PATHS * C);
        for (int d = 0; d < DEPTH; d++) {
            l->act[d] = REALS(pairs * WIDTH[d]);
            l->slope[d] = REALS(pairs * WIDTH[d]);
        }
        l->mid = REALS(atoms * MIDDLE * C);
        l->a = REALS(atoms * NY * C);
        l->poly = REALS(atoms * HIDDEN_ROWS * C);
    }
    w->unit = DOUBLES(3 * pairs); w->length = DOUBLES(pairs);
    w->y = DOUBLES(NY * pairs); w->dy = DOUBLES(NY * pairs);
    w->dbessel = DOUBLES(BESSEL * pairs);
    w->bessel = REALS(BESSEL * pairs);
    w->first = INTS(pairs); w->second = INTS(pairs);
    w->in = INTS(rows > pairs ? rows : pairs); w->out = INTS(rows > pairs ? rows : pairs); w->order = INTS(atoms);
    w->dh = REALS(atoms * HIDDEN_ROWS * C); w->dnext = REALS(atoms * HIDDEN_ROWS * C);
    w->dup = REALS(atoms * HIDDEN_ROWS * C);
    w->da = REALS(atoms * NY * C); w->dmid = REALS(atoms * MIDDLE * C);
    w->dr = REALS(pairs * PATHS * C); w->dact = REALS(2 * pairs * WIDEST); w->dbess = REALS(pairs * BESSEL);
    w->hidden = REALS(atoms * READOUT); w->slope = REALS(atoms * READOUT);
    return (size_t)(top - base);
}

size_t palirs_work(int atoms, int pairs) {
    struct work w;
    return divide(&w, NULL, atoms, pairs);
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

/* z σ(z) and its derivative; n is a multiple of LANES */
static void silu(int n, REAL *value, REAL *slope) {
    for (int i = 0; i < n; i += LANES) {
        V z = load(value + i), s = 1 / (1 + exponential((V){0} - z));
        store(value + i, z * s + (z - z)); /* not-a-number stays what it is */
        store(slope + i, s * (1 + z * (1 - s)));
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

static void convolve(const struct shape *s, struct work *w, struct layer *l, int atoms, int pairs) {
    memset(l->mid, 0, sizeof(REAL) * (size_t)atoms * s->middle * C);
    for (int e = 0; e < pairs; e++) {
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

static void convolve_back(const struct shape *s, struct work *w, struct layer *l, int atoms, int pairs, int inner) {
    int paths = s->paths_end - s->paths;
    memset(w->dr, 0, sizeof(REAL) * (size_t)pairs * paths * C);
    memset(w->dup, 0, sizeof(REAL) * (size_t)atoms * s->rows_in * C);
    for (int e = 0; e < pairs; e++) {
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
                const REAL *dmid = w->dmid + ((size_t)to * s->middle + q->row) * C;
                REAL *dh = inner ? w->dup + row : NULL;
                switch (q->kind) {
#define BACKWARD(kind, l1, l3)                                                                                                             \
    case kind:                                                                                                                             \
        path_backward(2 * l1 + 1, 2 * l3 + 1, sign, t + q->t, l->r + place, l->up + row, dmid, q->stride * C, dt + q->t, w->dr + place, dh); \
        break;
                    FOR_TRIPLES(BACKWARD)
                }
            }
        }
        double sums[TENSOR];
        for (int i = 0; i < s->tensor; i++) {
            sums[i] = 0;
            for (int v = 0; v < LANES; v++) sums[i] += dt[i][v];
        }
        for (int n = s->couplings; n < s->couplings_end; n++)
            w->dy[(size_t)e * NY + COUPLING[n].y] += COUPLING[n].factor * sums[COUPLING[n].t];
    }
}

/* ---- symmetric contraction: a polynomial of the components at each atom, channel by channel ---- */

static void contract(const struct shape *s, const REAL *weight, int atoms, const int *species, const REAL *a, REAL *poly) {
    for (int i = 0; i < atoms; i++) {
        const REAL *w = weight + s->poly + (size_t)species[i] * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES) {
            V x[NY + 1], b[HIDDEN_ROWS];
            for (int m = 0; m < NY; m++) x[m] = load(a + ((size_t)i * NY + m) * C + c);
            x[NY] = (V){0} + 1;
            for (int m = 0; m < s->rows_out; m++) b[m] = (V){0};
            for (int n = s->monomials; n < s->monomials_end; n++) {
                V product = x[MONOMIAL[n].factor[0]];
                for (int f = 1; f < CORRELATION; f++) product *= x[MONOMIAL[n].factor[f]];
                for (int t = MONOMIAL[n].terms; t < MONOMIAL[n + 1].terms; t++)
                    b[TERM[t]] += load(w + (size_t)(t - s->terms) * C + c) * product;
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
            for (int n = s->monomials; n < s->monomials_end; n++) {
                V d = {0};
                for (int t = MONOMIAL[n].terms; t < MONOMIAL[n + 1].terms; t++) d += load(w + (size_t)(t - s->terms) * C + c) * db[TERM[t]];
                UNROLL for (int f = 0; f < CORRELATION; f++) {
                    V others = d;
                    UNROLL for (int g = 0; g < CORRELATION; g++)
                        if (g != f) others *= x[MONOMIAL[n].factor[g]];
                    dx[MONOMIAL[n].factor[f]] += others;
                }
            }
            for (int m = 0; m < NY; m++) store(da + ((size_t)i * NY + m) * C + c, dx[m]);
        }
    }
}

/* ---- one layer, forward and backward ---- */

static void forward(const struct shape *s, const REAL *weight, struct work *w, int t, int atoms, int pairs, const int *species,
                    const int *group) {
    struct layer *l = &w->layer[t], *next = &w->layer[t + 1];
    const int paths = s->paths_end - s->paths;
    if (t == 0)
        for (int i = 0; i < atoms; i++) memcpy(l->up + (size_t)i * C, weight + s->up + (size_t)species[i] * C, C * sizeof(REAL));
    else
        for (int o = 0; o <= s->l_in; o++) {
            int m = rows_of(w->order, 0, atoms, o, s->rows_in, s->rows_in, w->in, w->out);
            matmul(m, w->in, w->out, l->h, weight + s->up + (size_t)o * C * C, C, C, l->up, 0);
        }
    const REAL *x = w->bessel;
    for (int d = 0, k = BESSEL; d < DEPTH; k = WIDTH[d], x = l->act[d], d++) {
        plain_rows(pairs, k, WIDTH[d], w->in, w->out);
        matmul(pairs, w->in, w->out, x, weight + s->radial[d], k, WIDTH[d], l->act[d], 0);
        silu(pairs * WIDTH[d], l->act[d], l->slope[d]);
    }
    plain_rows(pairs, WIDTH[DEPTH - 1], paths * C, w->in, w->out);
    matmul(pairs, w->in, w->out, x, weight + s->radial[DEPTH], WIDTH[DEPTH - 1], paths * C, l->r, 0);
    convolve(s, w, l, atoms, pairs);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) { /* all paths that end in order o are mixed at once */
            int m = 0, from = s->groups > 1 ? group[g] : 0, to = s->groups > 1 ? group[g + 1] : atoms;
            for (int i = from; i < to; i++)
                for (int c = 0; c < 2 * o + 1; c++, m++) {
                    w->in[m] = (w->order[i] * s->middle + s->row[o] + c * s->count[o]) * C;
                    w->out[m] = (w->order[i] * NY + o * o + c) * C;
                }
            matmul(m, w->in, w->out, l->mid, weight + s->linear[o] + (size_t)g * s->count[o] * C * C, s->count[o] * C, C, l->a, 0);
        }
    contract(s, weight, atoms, species, l->a, l->poly);
    for (int o = 0; o <= s->l_out; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_out, s->rows_out, w->in, w->out);
        matmul(m, w->in, w->out, l->poly, weight + s->product + (size_t)o * C * C, C, C, next->h, 0);
        for (int g = 0; g < SPECIES && t > 0; g++) {
            m = rows_of(w->order, group[g], group[g + 1], o, s->rows_in, s->rows_out, w->in, w->out);
            matmul(m, w->in, w->out, l->h, weight + s->skip + ((size_t)g * (s->l_out + 1) + o) * C * C, C, C, next->h, 1);
        }
    }
    for (int i = 0; i < atoms && t == 0 && s->residual; i++)
        for (int c = 0; c < C; c++) next->h[(size_t)i * s->rows_out * C + c] += weight[s->table + (size_t)species[i] * C + c];
}

/* From w->dnext, the derivative by what the layer gives, to w->dh, the one by what it gets; adds to w->dy and w->dbess. */
static void backward(const struct shape *s, const REAL *weight, struct work *w, int t, int atoms, int pairs, const int *species,
                     const int *group) {
    struct layer *l = &w->layer[t];
    const int paths = s->paths_end - s->paths;
    REAL *dpoly = l->poly; /* no longer needed */
    memset(w->dh, 0, sizeof(REAL) * (size_t)atoms * s->rows_in * C);
    for (int o = 0; o <= s->l_out; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_out, s->rows_out, w->in, w->out);
        matmul(m, w->in, w->out, w->dnext, weight + s->product_back + (size_t)o * C * C, C, C, dpoly, 0);
        for (int g = 0; g < SPECIES && t > 0; g++) {
            m = rows_of(w->order, group[g], group[g + 1], o, s->rows_out, s->rows_in, w->in, w->out);
            matmul(m, w->in, w->out, w->dnext, weight + s->skip_back + ((size_t)g * (s->l_out + 1) + o) * C * C, C, C, w->dh, 0);
        }
    }
    contract_back(s, weight, atoms, species, l->a, dpoly, w->da);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) {
            int m = 0, from = s->groups > 1 ? group[g] : 0, to = s->groups > 1 ? group[g + 1] : atoms;
            for (int i = from; i < to; i++)
                for (int c = 0; c < 2 * o + 1; c++, m++) {
                    w->in[m] = (w->order[i] * NY + o * o + c) * C;
                    w->out[m] = (w->order[i] * s->middle + s->row[o] + c * s->count[o]) * C;
                }
            matmul(m, w->in, w->out, w->da, weight + s->linear_back[o] + (size_t)g * s->count[o] * C * C, C, s->count[o] * C, w->dmid, 0);
        }
    convolve_back(s, w, l, atoms, pairs, t > 0);
    for (int o = 0; o <= s->l_in && t > 0; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_in, s->rows_in, w->in, w->out);
        matmul(m, w->in, w->out, w->dup, weight + s->up_back + (size_t)o * C * C, C, C, w->dh, 1);
    }
    REAL *dact = w->dact, *other = w->dact + (size_t)pairs * WIDEST;
    plain_rows(pairs, paths * C, WIDTH[DEPTH - 1], w->in, w->out);
    matmul(pairs, w->in, w->out, w->dr, weight + s->radial_back[DEPTH], paths * C, WIDTH[DEPTH - 1], dact, 0);
    for (int d = DEPTH - 1; d >= 0; d--) {
        const int n = d ? WIDTH[d - 1] : BESSEL;
        for (int i = 0; i < pairs * WIDTH[d]; i++) dact[i] *= l->slope[d][i];
        plain_rows(pairs, WIDTH[d], n, w->in, w->out);
        matmul(pairs, w->in, w->out, dact, weight + s->radial_back[d], WIDTH[d], n, d ? other : w->dbess, d == 0);
        REAL *swap = dact; dact = other; other = swap;
    }
}

/* ---- the whole ---- */

static int find_pairs(struct work *w, int molecules, const int *start, const double *x, double cutoff) {
    int pairs = 0;
    for (int k = 0; k < molecules; k++)
        for (int i = start[k]; i < start[k + 1]; i++)
            for (int j = i + 1; j < start[k + 1]; j++) {
                double v[3] = {x[3 * j] - x[3 * i], x[3 * j + 1] - x[3 * i + 1], x[3 * j + 2] - x[3 * i + 2]};
                double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
                if (r >= cutoff) continue; /* written so that not-a-number is kept and shows in the forces */
                w->first[pairs] = i, w->second[pairs] = j, w->length[pairs] = r;
                for (int a = 0; a < 3; a++) w->unit[3 * pairs + a] = v[a] / r;
                harmonics(w->unit + 3 * pairs, w->y + (size_t)NY * pairs);
                radial(r, cutoff, w->bessel + (size_t)BESSEL * pairs, w->dbessel + (size_t)BESSEL * pairs);
                pairs++;
            }
    return pairs;
}

static void sort_by_species(int atoms, const int *species, int *order, int *group) {
    int n = 0;
    for (int s = 0; s < SPECIES; s++) {
        group[s] = n;
        for (int i = 0; i < atoms; i++)
            if (species[i] == s) order[n++] = i;
    }
    group[SPECIES] = n;
}

/* Features of all layers, features[layer][atom][row][C]. */
void palirs_features(const REAL *weight, double cutoff, int molecules, const int *start, const int *species, const double *x, char *memory,
                     REAL *features) {
    struct work w;
    int atoms = start[molecules], most = 0, group[SPECIES + 1];
    for (int k = 0; k < molecules; k++) most += (start[k + 1] - start[k]) * (start[k + 1] - start[k] - 1) / 2;
    divide(&w, memory, atoms, most);
    int pairs = find_pairs(&w, molecules, start, x, cutoff);
    sort_by_species(atoms, species, w.order, group);
    for (int t = 0; t < LAYERS; t++) {
        forward(&SHAPE[t], weight, &w, t, atoms, pairs, species, group);
        memcpy(features, w.layer[t + 1].h, sizeof(REAL) * (size_t)atoms * SHAPE[t].rows_out * C);
        features += (size_t)atoms * SHAPE[t].rows_out * C;
    }
}

/* Interaction energies [molecules] and forces [atoms][3]. The read-outs carry the scale of the energy. */
void palirs_forces(const REAL *weight, double cutoff, int molecules, const int *start, const int *species, const double *x, char *memory,
                   double *energy, double *forces) {
    struct work w;
    int atoms = start[molecules], most = 0, group[SPECIES + 1];
    for (int k = 0; k < molecules; k++) most += (start[k + 1] - start[k]) * (start[k + 1] - start[k] - 1) / 2;
    divide(&w, memory, atoms, most);
    int pairs = find_pairs(&w, molecules, start, x, cutoff);
    sort_by_species(atoms, species, w.order, group);
    for (int t = 0; t < LAYERS; t++) forward(&SHAPE[t], weight, &w, t, atoms, pairs, species, group);

    const struct shape *last = &SHAPE[LAYERS - 1];
    plain_rows(atoms, last->rows_out * C, READOUT, w.in, w.out);
    matmul(atoms, w.in, w.out, w.layer[LAYERS].h, weight + READOUT_IN, C, READOUT, w.hidden, 0);
    silu(atoms * READOUT, w.hidden, w.slope);
    for (int k = 0; k < molecules; k++) {
        energy[k] = 0;
        for (int i = start[k]; i < start[k + 1]; i++) {
            for (int n = 0; n < READOUT; n++) energy[k] += (double)w.hidden[i * READOUT + n] * weight[READOUT_OUT + n];
            for (int t = 1; t < LAYERS; t++)
                for (int c = 0; c < C; c++)
                    energy[k] += (double)w.layer[t].h[(size_t)i * SHAPE[t - 1].rows_out * C + c] * weight[SHAPE[t - 1].readout + c];
        }
    }

    for (int i = 0; i < atoms; i++)
        for (int n = 0; n < READOUT; n++) w.slope[i * READOUT + n] *= weight[READOUT_OUT + n];
    memset(w.dnext, 0, sizeof(REAL) * (size_t)atoms * last->rows_out * C);
    plain_rows(atoms, READOUT, last->rows_out * C, w.in, w.out);
    matmul(atoms, w.in, w.out, w.slope, weight + READOUT_BACK, READOUT, C, w.dnext, 0);
    memset(w.dy, 0, sizeof(double) * (size_t)pairs * NY);
    memset(w.dbess, 0, sizeof(REAL) * (size_t)pairs * BESSEL);
    for (int t = LAYERS - 1; t >= 0; t--) {
        backward(&SHAPE[t], weight, &w, t, atoms, pairs, species, group);
        for (int i = 0; i < atoms && t > 0; i++)
            for (int c = 0; c < C; c++) w.dh[(size_t)i * SHAPE[t].rows_in * C + c] += weight[SHAPE[t - 1].readout + c];
        REAL *swap = w.dnext; w.dnext = w.dh; w.dh = swap;
    }

    memset(forces, 0, sizeof(double) * 3 * (size_t)atoms);
    for (int e = 0; e < pairs; e++) {
        const double *u = w.unit + 3 * e;
        double du[3], along = 0, dr = 0;
        harmonics_back(w.y + (size_t)e * NY, w.dy + (size_t)e * NY, du);
        for (int n = 0; n < BESSEL; n++) dr += w.dbess[(size_t)e * BESSEL + n] * w.dbessel[(size_t)e * BESSEL + n];
        for (int a = 0; a < 3; a++) along += u[a] * du[a];
        for (int a = 0; a < 3; a++) {
            double d = dr * u[a] + (du[a] - along * u[a]) / w.length[e];
            forces[3 * w.first[e] + a] += d;
            forces[3 * w.second[e] + a] -= d;
        }
    }
}
