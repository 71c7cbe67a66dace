/* Derivatives by the weights, for training (mace.c has the energies and forces).
 *
 * A loss of energies and forces needs the derivative of the forces by the weights. With e = ∂loss/∂energy and v = −∂loss/∂forces held
 * fixed, the gradient of the loss is the derivative by the weights of
 *
 *     S = e E(x) + d/dτ E(x + τ v) at τ = 0,
 *
 * so that one forward pass carries values and their derivatives along v, and one backward pass through both gives the whole gradient:
 * no second backward pass, nothing recorded, nothing approximate. Every array has one plane (dipole models: values only) or two (values,
 * then derivatives along v), [plane][atom][component][channel]; PLANES is their
 * number, set when this is compiled.
 *
 * The gradient has the layout of the weights and is added to what is there. The transposed copies that follow the weights get none.
 */
#include "mace.c"

struct tape {
    REAL *h, *up, *r, *mid, *a, *poly;                   /* as in struct layer */
    REAL *act[DEPTH], *slope[DEPTH], *bend[DEPTH];       /* hidden layers of the radial network; bend is f''(z) times z along v */
};

struct pass {
    struct tape tape[LAYERS + 1];
    struct work geometry;
    REAL *bessel;
    double *turn;                                        /* [pairs][NY] harmonics along v */
    REAL *dh, *dnext, *dup, *da, *dmid, *dr, *dact, *other;
    REAL *hidden, *slope, *bend, *dhidden;
    int *in, *out;
    int atoms, pairs, group[SPECIES + 1];
};

static size_t divide_pass(struct pass *p, char *base, size_t atoms, size_t pairs) {
    char *top = base + ((sizeof(struct pass) + 63) & ~(size_t)63);
    size_t widest = MIDDLE > NY ? MIDDLE : NY, rows;
    widest = HIDDEN_ROWS > widest ? HIDDEN_ROWS : widest;
    rows = atoms * widest > pairs ? atoms * widest : pairs;
    rows = rows + HEIGHT;
    size_t a = PLANES * atoms * C, e = PLANES * pairs;
    for (int t = 0; t <= LAYERS; t++) {
        struct tape *l = &p->tape[t];
        l->h = REALS(a * HIDDEN_ROWS);
        if (t == LAYERS) break;
        l->up = REALS(a * HIDDEN_ROWS);
        l->r = REALS(e * PATHS * C);
        for (int d = 0; d < DEPTH; d++) {
            l->act[d] = REALS(e * WIDTH[d]);
            l->slope[d] = REALS(pairs * WIDTH[d]);
            l->bend[d] = REALS(pairs * WIDTH[d]);
        }
        l->mid = REALS(a * MIDDLE);
        l->a = REALS(a * NY);
        l->poly = REALS(a * HIDDEN_ROWS);
    }
    struct work *g = &p->geometry;
    g->unit = DOUBLES(3 * pairs); g->length = DOUBLES(pairs); g->y = DOUBLES(NY * pairs); g->dbessel = DOUBLES(BESSEL * pairs);
    g->bessel = p->bessel = REALS(e * BESSEL);
    g->first = INTS(pairs); g->second = INTS(pairs); g->order = INTS(atoms);
    p->turn = DOUBLES(NY * pairs);
    p->dh = REALS(a * HIDDEN_ROWS); p->dnext = REALS(a * HIDDEN_ROWS); p->dup = REALS(a * HIDDEN_ROWS);
    p->da = REALS(a * NY); p->dmid = REALS(a * MIDDLE); p->dr = REALS(e * PATHS * C);
    p->dact = REALS(e * WIDEST); p->other = REALS(e * WIDEST);
    p->hidden = REALS(PLANES * atoms * READOUT); p->dhidden = REALS(PLANES * atoms * READOUT);
    p->slope = REALS(atoms * READOUT); p->bend = REALS(atoms * READOUT);
    p->in = INTS(PLANES * rows); p->out = INTS(PLANES * rows);
    return (size_t)(top - base);
}

size_t palirs_train_work(int atoms, int pairs) {
    struct pass p;
    return divide_pass(&p, NULL, atoms, pairs);
}

/* ---- linear algebra ---- */

/* dw[k][n] += Σ_i x[in_i + k] y[out_i + n]; k is a multiple of 4, n of LANES */
INLINE void outer_tile(const int tile, int m, const int *in, const int *out, const REAL *x, const REAL *y, int n, REAL *dw) {
    V sum[4][TILE];
    UNROLL for (int j = 0; j < 4; j++)
        UNROLL for (int v = 0; v < tile; v++) sum[j][v] = load(dw + (size_t)j * n + v * LANES);
    for (int i = 0; i < m; i++) {
        V b[TILE];
        UNROLL for (int v = 0; v < tile; v++) b[v] = load(y + out[i] + v * LANES);
        UNROLL for (int j = 0; j < 4; j++)
            UNROLL for (int v = 0; v < tile; v++) sum[j][v] += x[in[i] + j] * b[v];
    }
    UNROLL for (int j = 0; j < 4; j++)
        UNROLL for (int v = 0; v < tile; v++) store(dw + (size_t)j * n + v * LANES, sum[j][v]);
}

static void outer(int m, const int *in, const int *out, const REAL *x, const REAL *y, int k, int n, REAL *dw) {
    int col = 0;
    for (; col + TILE * LANES <= n; col += TILE * LANES)
        for (int j = 0; j < k; j += 4) outer_tile(TILE, m, in, out, x + j, y + col, n, dw + (size_t)j * n + col);
    for (; col < n; col += LANES)
        for (int j = 0; j < k; j += 4) outer_tile(1, m, in, out, x + j, y + col, n, dw + (size_t)j * n + col);
}

/* Repeat m rows for the second plane, which lies so much further on; the number of rows in all. */
INLINE int in_planes(int m, int *in, int *out, size_t in_plane, size_t out_plane) {
    for (int i = 0; i < m && PLANES > 1; i++) in[m + i] = in[i] + (int)in_plane, out[m + i] = out[i] + (int)out_plane;
    return PLANES * m;
}

/* Rows of order l of some atoms, in all planes. */
INLINE int order_rows(const struct pass *p, int from, int to, int l, int stride_in, int stride_out) {
    int m = rows_of(p->geometry.order, from, to, l, stride_in, stride_out, p->in, p->out);
    return in_planes(m, p->in, p->out, (size_t)p->atoms * stride_in * C, (size_t)p->atoms * stride_out * C);
}

/* Rows of one order of all paths of some atoms, and of the mixed ones. */
INLINE int middle_rows(const struct shape *s, const struct pass *p, int from, int to, int o) {
    int m = 0;
    for (int i = from; i < to; i++)
        for (int c = 0; c < 2 * o + 1; c++, m++) {
            p->in[m] = (p->geometry.order[i] * s->middle + s->row[o] + c * s->count[o]) * C;
            p->out[m] = (p->geometry.order[i] * NY + o * o + c) * C;
        }
    return in_planes(m, p->in, p->out, (size_t)p->atoms * s->middle * C, (size_t)p->atoms * NY * C);
}

/* The planes of pairs and of the read-out follow each other row by row. */
INLINE int pair_rows(const struct pass *p, int rows, int stride_in, int stride_out) { return plain_rows(rows, stride_in, stride_out, p->in, p->out); }

/* z σ(z) in all planes; the first and the second derivative are kept */
INLINE void silu_planes(int n, REAL *value, REAL *slope, REAL *bend) {
    for (int i = 0; i < n; i += LANES) {
        V z = load(value + i), s = 1 / (1 + exponential((V){0} - z)), first = s * (1 + z * (1 - s));
        store(value + i, z * s);
        store(slope + i, first);
        if (PLANES > 1) {
            V along = load(value + n + i);
            store(bend + i, along * s * (1 - s) * (2 + z * (1 - 2 * s)));
            store(value + n + i, along * first);
        }
    }
}

INLINE void silu_planes_back(int n, const REAL *slope, const REAL *bend, REAL *d) {
    for (int i = 0; i < n; i += LANES) {
        V value = load(d + i) * load(slope + i);
        if (PLANES > 1) {
            value += load(d + n + i) * load(bend + i);
            store(d + n + i, load(d + n + i) * load(slope + i));
        }
        store(d + i, value);
    }
}

/* ---- geometry along v ---- */

static void geometry_along(struct pass *p, const double *v) {
    struct work *g = &p->geometry;
    for (int e = 0; e < p->pairs; e++) {
        const double *u = g->unit + 3 * e, *y = g->y + (size_t)NY * e;
        double arm[3], dr = 0, *dy = p->turn + (size_t)NY * e;
        for (int a = 0; a < 3; a++) arm[a] = v[3 * g->second[e] + a] - v[3 * g->first[e] + a], dr += u[a] * arm[a];
        for (int m = 0; m < NY; m++) dy[m] = 0;
        for (int a = 0; a < 3 && LMAX > 0; a++) dy[1 + a] = 1.7320508075688772 * (arm[a] - u[a] * dr) / g->length[e];
        for (int n = 0; n < LADDERS; n++)
            dy[LADDER[n].m] += LADDER[n].factor * (dy[LADDER[n].a] * y[LADDER[n].b] + y[LADDER[n].a] * dy[LADDER[n].b]);
        REAL *b = p->bessel + (size_t)BESSEL * (p->pairs + e);
        for (int n = 0; n < BESSEL; n++) b[n] = (REAL)(g->dbessel[(size_t)BESSEL * e + n] * dr);
    }
}

/* ---- tensor product of an edge; second planes lie so much further on ---- */

struct further { size_t r, h, mid; };

INLINE void path_along(const int d1, const int d3, REAL sign, const REAL *t, const REAL *dt, const REAL *r, const REAL *h,
                       REAL *mid, int stride, struct further next) {
    for (int c = 0; c < C; c += LANES) {
        V r0 = load(r + c) * sign, r1 = {0}, g0[7], g1[7];
        if (PLANES > 1) r1 = load(r + next.r + c) * sign;
        UNROLL for (int i = 0; i < d1; i++) {
            V h0 = load(h + i * C + c);
            g0[i] = r0 * h0;
            if (PLANES > 1) g1[i] = r1 * h0 + r0 * load(h + next.h + i * C + c);
        }
        UNROLL for (int k = 0; k < d3; k++) {
            REAL *place = mid + (size_t)k * stride + c;
            V sum = load(place), along = {0};
            if (PLANES > 1) along = load(place + next.mid);
            UNROLL for (int i = 0; i < d1; i++) {
                sum += t[i * d3 + k] * g0[i];
                if (PLANES > 1) along += t[i * d3 + k] * g1[i] + dt[i * d3 + k] * g0[i];
            }
            store(place, sum);
            if (PLANES > 1) store(place + next.mid, along);
        }
    }
}

INLINE void path_along_back(const int d1, const int d3, REAL sign, const REAL *t, const REAL *dt, const REAL *r,
                            const REAL *h, const REAL *dmid, int stride, REAL *dr, REAL *dh, struct further next) {
    for (int c = 0; c < C; c += LANES) {
        V r0 = load(r + c), r1 = {0}, m0[9], m1[9], dr0 = load(dr + c), dr1 = {0};
        if (PLANES > 1) r1 = load(r + next.r + c), dr1 = load(dr + next.r + c);
        UNROLL for (int k = 0; k < d3; k++) {
            m0[k] = load(dmid + (size_t)k * stride + c) * sign;
            if (PLANES > 1) m1[k] = load(dmid + next.mid + (size_t)k * stride + c) * sign;
        }
        UNROLL for (int i = 0; i < d1; i++) {
            V s0 = {0}, s1 = {0}, h0 = load(h + i * C + c);
            UNROLL for (int k = 0; k < d3; k++) {
                s0 += t[i * d3 + k] * m0[k];
                if (PLANES > 1) s0 += dt[i * d3 + k] * m1[k], s1 += t[i * d3 + k] * m1[k];
            }
            dr0 += s0 * h0;
            if (PLANES > 1) dr0 += s1 * load(h + next.h + i * C + c), dr1 += s1 * h0;
            if (dh) {
                REAL *place = dh + i * C + c;
                store(place, load(place) + s0 * r0 + s1 * r1);
                if (PLANES > 1) store(place + next.h, load(place + next.h) + s1 * r0);
            }
        }
        store(dr + c, dr0);
        if (PLANES > 1) store(dr + next.r + c, dr1);
    }
}

/* Every pair, path and direction; forward fills mid, backward dr and dup. */
INLINE void convolve_along(const int forward, const struct shape *s, struct pass *p, struct tape *l, int inner) {
    const int paths = s->paths_end - s->paths;
    const struct further next = {(size_t)p->pairs * paths * C, (size_t)p->atoms * s->rows_in * C, (size_t)p->atoms * s->middle * C};
    if (forward) memset(l->mid, 0, sizeof(REAL) * PLANES * next.mid);
    else {
        memset(p->dr, 0, sizeof(REAL) * PLANES * next.r);
        memset(p->dup, 0, sizeof(REAL) * PLANES * next.h);
    }
    for (int e = 0; e < p->pairs; e++) {
        REAL t[TENSOR], dt[TENSOR];
        couple(s, p->geometry.y + (size_t)e * NY, t);
        if (PLANES > 1) couple(s, p->turn + (size_t)e * NY, dt);
        for (int path = s->paths; path < s->paths_end; path++) {
            const struct path *q = &PATH[path];
            const size_t place = ((size_t)e * paths + path - s->paths) * C;
            for (int back = 0; back < 2; back++) {
                int from = back ? p->geometry.second[e] : p->geometry.first[e], to = back ? p->geometry.first[e] : p->geometry.second[e];
                REAL sign = back && q->l2 % 2 ? -1 : 1;
                const size_t row = ((size_t)from * s->rows_in + q->l1 * q->l1) * C, middle = ((size_t)to * s->middle + q->row) * C;
                REAL *dh = inner ? p->dup + row : NULL;
                switch (q->kind) {
#define ALONG(kind, l1, l3)                                                                                                                \
    case kind:                                                                                                                             \
        if (forward)                                                                                                                       \
            path_along(2 * l1 + 1, 2 * l3 + 1, sign, t + q->t, dt + q->t, l->r + place, l->up + row, l->mid + middle,              \
                       q->stride * C, next);                                                                                               \
        else                                                                                                                               \
            path_along_back(2 * l1 + 1, 2 * l3 + 1, sign, t + q->t, dt + q->t, l->r + place, l->up + row, p->dmid + middle,        \
                            q->stride * C, p->dr + place, dh, next);                                                                       \
        break;
                    FOR_TRIPLES(ALONG)
                }
            }
        }
    }
}

/* ---- symmetric contraction ---- */

INLINE void contract_along(const struct shape *s, const REAL *weight, const struct pass *p, const int *species,
                           const struct tape *l) {
    const size_t a_plane = (size_t)p->atoms * NY * C, b_plane = (size_t)p->atoms * s->rows_out * C;
    for (int i = 0; i < p->atoms; i++) {
        const REAL *w = weight + s->poly + (size_t)species[i] * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES) {
            V x[NY + 1], dx[NY + 1], b[HIDDEN_ROWS], db[HIDDEN_ROWS];
            for (int m = 0; m < NY; m++) {
                x[m] = load(l->a + ((size_t)i * NY + m) * C + c);
                if (PLANES > 1) dx[m] = load(l->a + a_plane + ((size_t)i * NY + m) * C + c);
            }
            x[NY] = (V){0} + 1, dx[NY] = (V){0};
            for (int m = 0; m < s->rows_out; m++) b[m] = db[m] = (V){0};
            for (int n = s->monomials; n < s->monomials_end; n++) {
                V product = x[MONOMIAL[n].factor[0]], along = dx[MONOMIAL[n].factor[0]];
                UNROLL for (int f = 1; f < CORRELATION; f++) {
                    if (PLANES > 1) along = along * x[MONOMIAL[n].factor[f]] + product * dx[MONOMIAL[n].factor[f]];
                    product *= x[MONOMIAL[n].factor[f]];
                }
                for (int t = MONOMIAL[n].terms; t < MONOMIAL[n + 1].terms; t++) {
                    V k = load(w + (size_t)(t - s->terms) * C + c);
                    b[TERM[t]] += k * product;
                    if (PLANES > 1) db[TERM[t]] += k * along;
                }
            }
            for (int m = 0; m < s->rows_out; m++) {
                REAL *place = l->poly + ((size_t)i * s->rows_out + m) * C + c;
                store(place, b[m]);
                if (PLANES > 1) store(place + b_plane, db[m]);
            }
        }
    }
}

/* From dpoly to da; the weights of an element are added up for all its atoms, a few channels at a time, to stay in the cache. */
INLINE void contract_along_back(const struct shape *s, const REAL *weight, const struct pass *p, const struct tape *l,
                                const REAL *dpoly, REAL *gradient) {
    const size_t a_plane = (size_t)p->atoms * NY * C, b_plane = (size_t)p->atoms * s->rows_out * C;
    for (int g = 0; g < SPECIES; g++) {
        const size_t start = s->poly + (size_t)g * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES)
            for (int n = p->group[g]; n < p->group[g + 1]; n++) {
                const int i = p->geometry.order[n];
                V x[NY + 1], dx[NY + 1], ax[NY + 1], adx[NY + 1], ab[HIDDEN_ROWS], adb[HIDDEN_ROWS]; /* a…: derivatives of S */
                for (int m = 0; m < NY; m++) {
                    x[m] = load(l->a + ((size_t)i * NY + m) * C + c), ax[m] = (V){0};
                    if (PLANES > 1) dx[m] = load(l->a + a_plane + ((size_t)i * NY + m) * C + c), adx[m] = (V){0};
                }
                x[NY] = (V){0} + 1, dx[NY] = ax[NY] = adx[NY] = (V){0};
                for (int m = 0; m < s->rows_out; m++) {
                    ab[m] = load(dpoly + ((size_t)i * s->rows_out + m) * C + c);
                    if (PLANES > 1) adb[m] = load(dpoly + b_plane + ((size_t)i * s->rows_out + m) * C + c);
                }
                for (int q = s->monomials; q < s->monomials_end; q++) {
                    const int *f = MONOMIAL[q].factor;
                    V product = x[f[0]], along = dx[f[0]], d = {0}, dd = {0};
                    UNROLL for (int j = 1; j < CORRELATION; j++) {
                        if (PLANES > 1) along = along * x[f[j]] + product * dx[f[j]];
                        product *= x[f[j]];
                    }
                    for (int t = MONOMIAL[q].terms; t < MONOMIAL[q + 1].terms; t++) {
                        const size_t place = start + (size_t)(t - s->terms) * C + c;
                        V k = load(weight + place), sum = load(gradient + place) + ab[TERM[t]] * product;
                        d += k * ab[TERM[t]];
                        if (PLANES > 1) dd += k * adb[TERM[t]], sum += adb[TERM[t]] * along;
                        store(gradient + place, sum);
                    }
                    UNROLL for (int j = 0; j < CORRELATION; j++) {
                        V others = (V){0} + 1, turned = {0};
                        UNROLL for (int k = 0; k < CORRELATION; k++)
                            if (k != j) {
                                if (PLANES > 1) turned = turned * x[f[k]] + others * dx[f[k]];
                                others *= x[f[k]];
                            }
                        ax[f[j]] += d * others;
                        if (PLANES > 1) ax[f[j]] += dd * turned, adx[f[j]] += dd * others;
                    }
                }
                for (int m = 0; m < NY; m++) {
                    REAL *place = p->da + ((size_t)i * NY + m) * C + c;
                    store(place, ax[m]);
                    if (PLANES > 1) store(place + a_plane, adx[m]);
                }
            }
    }
}

/* ---- one layer ---- */

INLINE void layer_along(const struct shape *s, const REAL *weight, struct pass *p, int t, const int *species) {
    struct tape *l = &p->tape[t], *next = &p->tape[t + 1];
    const int paths = s->paths_end - s->paths, atoms = p->atoms, rows = PLANES * p->pairs;
    if (t == 0) {
        for (int i = 0; i < atoms; i++) memcpy(l->up + (size_t)i * C, weight + s->up + (size_t)species[i] * C, C * sizeof(REAL));
        if (PLANES > 1) memset(l->up + (size_t)atoms * C, 0, sizeof(REAL) * (size_t)atoms * C);
    } else
        for (int o = 0; o <= s->l_in; o++) {
            int m = order_rows(p, 0, atoms, o, s->rows_in, s->rows_in);
            matmul(m, p->in, p->out, l->h, weight + s->up + (size_t)o * C * C, C, C, l->up, 0);
        }
    const REAL *x = p->bessel;
    for (int d = 0, k = BESSEL; d < DEPTH; k = WIDTH[d], x = l->act[d], d++) {
        pair_rows(p, rows, k, WIDTH[d]);
        matmul(rows, p->in, p->out, x, weight + s->radial[d], k, WIDTH[d], l->act[d], 0);
        silu_planes(p->pairs * WIDTH[d], l->act[d], l->slope[d], l->bend[d]);
    }
    pair_rows(p, rows, WIDTH[DEPTH - 1], paths * C);
    matmul(rows, p->in, p->out, x, weight + s->radial[DEPTH], WIDTH[DEPTH - 1], paths * C, l->r, 0);
    convolve_along(1, s, p, l, 0);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) {
            int m = middle_rows(s, p, s->groups > 1 ? p->group[g] : 0, s->groups > 1 ? p->group[g + 1] : atoms, o);
            matmul(m, p->in, p->out, l->mid, weight + s->linear[o] + (size_t)g * s->count[o] * C * C, s->count[o] * C, C, l->a, 0);
        }
    contract_along(s, weight, p, species, l);
    for (int o = 0; o <= s->l_out; o++) {
        int m = order_rows(p, 0, atoms, o, s->rows_out, s->rows_out);
        matmul(m, p->in, p->out, l->poly, weight + s->product + (size_t)o * C * C, C, C, next->h, 0);
        for (int g = 0; g < SPECIES && t > 0; g++) {
            m = order_rows(p, p->group[g], p->group[g + 1], o, s->rows_in, s->rows_out);
            matmul(m, p->in, p->out, l->h, weight + s->skip + ((size_t)g * (s->l_out + 1) + o) * C * C, C, C, next->h, 1);
        }
    }
    for (int i = 0; i < atoms && t == 0 && s->residual; i++)
        for (int c = 0; c < C; c++) next->h[(size_t)i * s->rows_out * C + c] += weight[s->table + (size_t)species[i] * C + c];
}


/* From p->dnext to p->dh, adding to the gradient. */
INLINE void layer_along_back(const struct shape *s, const REAL *weight, struct pass *p, int t, const int *species,
                             REAL *gradient) {
    struct tape *l = &p->tape[t];
    const int paths = s->paths_end - s->paths, atoms = p->atoms, rows = PLANES * p->pairs;
    memset(p->dh, 0, sizeof(REAL) * PLANES * (size_t)atoms * s->rows_in * C);
    for (int i = 0; i < atoms && t == 0 && s->residual; i++)
        for (int c = 0; c < C; c++) gradient[s->table + (size_t)species[i] * C + c] += p->dnext[(size_t)i * s->rows_out * C + c];
    for (int o = 0; o <= s->l_out; o++) {
        for (int g = 0; g < SPECIES && t > 0; g++) {
            const size_t place = ((size_t)g * (s->l_out + 1) + o) * C * C;
            int m = order_rows(p, p->group[g], p->group[g + 1], o, s->rows_in, s->rows_out);
            outer(m, p->in, p->out, l->h, p->dnext, C, C, gradient + s->skip + place);
            matmul(m, p->out, p->in, p->dnext, weight + s->skip_back + place, C, C, p->dh, 0);
        }
        int m = order_rows(p, 0, atoms, o, s->rows_out, s->rows_out);
        outer(m, p->in, p->out, l->poly, p->dnext, C, C, gradient + s->product + (size_t)o * C * C);
        matmul(m, p->in, p->out, p->dnext, weight + s->product_back + (size_t)o * C * C, C, C, l->poly, 0); /* no longer needed */
    }
    contract_along_back(s, weight, p, l, l->poly, gradient);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) {
            const int k = s->count[o] * C;
            int m = middle_rows(s, p, s->groups > 1 ? p->group[g] : 0, s->groups > 1 ? p->group[g + 1] : atoms, o);
            outer(m, p->in, p->out, l->mid, p->da, k, C, gradient + s->linear[o] + (size_t)g * k * C);
            matmul(m, p->out, p->in, p->da, weight + s->linear_back[o] + (size_t)g * k * C, C, k, p->dmid, 0);
        }
    convolve_along(0, s, p, l, 1);
    if (t == 0) { /* the table of elements does not move along v */
        for (int i = 0; i < atoms; i++)
            for (int c = 0; c < C; c++) gradient[s->up + (size_t)species[i] * C + c] += p->dup[(size_t)i * C + c];
    } else
        for (int o = 0; o <= s->l_in; o++) {
            int m = order_rows(p, 0, atoms, o, s->rows_in, s->rows_in);
            outer(m, p->in, p->out, l->h, p->dup, C, C, gradient + s->up + (size_t)o * C * C);
            matmul(m, p->in, p->out, p->dup, weight + s->up_back + (size_t)o * C * C, C, C, p->dh, 1);
        }
    const int last = WIDTH[DEPTH - 1];
    pair_rows(p, rows, last, paths * C);
    outer(rows, p->in, p->out, l->act[DEPTH - 1], p->dr, last, paths * C, gradient + s->radial[DEPTH]);
    matmul(rows, p->out, p->in, p->dr, weight + s->radial_back[DEPTH], paths * C, last, p->dact, 0);
    for (int d = DEPTH - 1; d >= 0; d--) {
        const int n = d ? WIDTH[d - 1] : BESSEL;
        silu_planes_back(p->pairs * WIDTH[d], l->slope[d], l->bend[d], p->dact);
        pair_rows(p, rows, n, WIDTH[d]);
        outer(rows, p->in, p->out, d ? l->act[d - 1] : p->bessel, p->dact, n, WIDTH[d], gradient + s->radial[d]);
        if (d) matmul(rows, p->out, p->in, p->dact, weight + s->radial_back[d], WIDTH[d], n, p->other, 0);
        REAL *swap = p->dact; p->dact = p->other; p->other = swap;
    }
}

#if PLANES == 2

/* ---- read-out of energies ---- */

/* Derivative of S by the scalars of the last layer; e_m and 1 are those by the energy of a molecule and by its derivative along v. */
static void readout_back(const REAL *weight, struct pass *p, int molecules, const int *start, const double *e, REAL *gradient) {
    const struct shape *s = &SHAPE[LAYERS - 1];
    const int atoms = p->atoms, n = atoms * READOUT, stride = s->rows_out * C;
    int m = plain_rows(2 * atoms, stride, READOUT, p->in, p->out);
    const REAL *h = p->tape[LAYERS].h;
    matmul(m, p->in, p->out, h, weight + READOUT_IN, C, READOUT, p->hidden, 0);
    silu_planes(n, p->hidden, p->slope, p->bend);
    for (int k = 0; k < molecules; k++)
        for (int i = start[k]; i < start[k + 1]; i++)
            for (int j = 0; j < READOUT; j++) {
                const int at = i * READOUT + j;
                gradient[READOUT_OUT + j] += (REAL)e[k] * p->hidden[at] + p->hidden[n + at];
                p->dhidden[at] = (REAL)e[k] * weight[READOUT_OUT + j];
                p->dhidden[n + at] = weight[READOUT_OUT + j];
            }
    silu_planes_back(n, p->slope, p->bend, p->dhidden);
    outer(m, p->in, p->out, h, p->dhidden, C, READOUT, gradient + READOUT_IN);
    memset(p->dnext, 0, sizeof(REAL) * 2 * (size_t)atoms * stride);
    matmul(m, p->out, p->in, p->dhidden, weight + READOUT_BACK, READOUT, C, p->dnext, 0);
}

/* The linear read-out of the features that layer t gets. */
static void linear_back(const REAL *weight, struct pass *p, int t, int molecules, const int *start, const double *e, REAL *gradient) {
    const struct shape *s = &SHAPE[t - 1];
    const size_t plane = (size_t)p->atoms * s->rows_out * C;
    for (int k = 0; k < molecules; k++)
        for (int i = start[k]; i < start[k + 1]; i++)
            for (int c = 0; c < C; c++) {
                const size_t at = (size_t)i * s->rows_out * C + c;
                gradient[s->readout + c] += (REAL)e[k] * p->tape[t].h[at] + p->tape[t].h[plane + at];
                p->dh[at] += (REAL)e[k] * weight[s->readout + c];
                p->dh[plane + at] += weight[s->readout + c];
            }
}

#endif

/* ---- the whole ---- */

INLINE struct pass *begin(double cutoff, int molecules, const int *start, const int *species, const double *x,
                          char *memory) {
    struct pass *p = (struct pass *)memory;
    int atoms = start[molecules], most = 0;
    for (int k = 0; k < molecules; k++) most += (start[k + 1] - start[k]) * (start[k + 1] - start[k] - 1) / 2;
    divide_pass(p, memory, atoms, most);
    p->atoms = atoms;
    p->pairs = find_pairs(&p->geometry, molecules, start, x, cutoff);
    sort_by_species(atoms, species, p->geometry.order, p->group);
    return p;
}

#if PLANES == 2

/* Gradient of a loss of energies and forces: energy[molecules] = ∂loss/∂E, along[atoms][3] = −∂loss/∂F. */
void palirs_train_forces(const REAL *weight, double cutoff, int molecules, const int *start, const int *species, const double *x,
                         char *memory, const double *energy, const double *along, REAL *gradient) {
    struct pass *p = begin(cutoff, molecules, start, species, x, memory);
    geometry_along(p, along);
    for (int t = 0; t < LAYERS; t++) layer_along(&SHAPE[t], weight, p, t, species);
    readout_back(weight, p, molecules, start, energy, gradient);
    for (int t = LAYERS - 1; t >= 0; t--) {
        layer_along_back(&SHAPE[t], weight, p, t, species, gradient);
        if (t > 0) linear_back(weight, p, t, molecules, start, energy, gradient);
        REAL *swap = p->dnext; p->dnext = p->dh; p->dh = swap;
    }
}

#else

/* Features of all layers; memory keeps what the backward pass needs. */
void palirs_train_features(const REAL *weight, double cutoff, int molecules, const int *start, const int *species, const double *x,
                           char *memory, REAL *features) {
    struct pass *p = begin(cutoff, molecules, start, species, x, memory);
    for (int t = 0; t < LAYERS; t++) {
        layer_along(&SHAPE[t], weight, p, t, species);
        const size_t size = (size_t)p->atoms * SHAPE[t].rows_out * C;
        memcpy(features, p->tape[t + 1].h, sizeof(REAL) * size);
        features += size;
    }
}

/* Gradient given the derivatives of the loss by the features of all layers. */
void palirs_train_features_back(const REAL *weight, const int *species, char *memory, const REAL *derivatives, REAL *gradient) {
    struct pass *p = (struct pass *)memory;
    for (int t = 0; t < LAYERS; t++) derivatives += (size_t)p->atoms * SHAPE[t].rows_out * C;
    for (int t = LAYERS - 1; t >= 0; t--) {
        const size_t size = (size_t)p->atoms * SHAPE[t].rows_out * C;
        derivatives -= size;
        if (t == LAYERS - 1) memcpy(p->dnext, derivatives, sizeof(REAL) * size);
        else
            for (size_t i = 0; i < size; i++) p->dnext[i] += derivatives[i];
        layer_along_back(&SHAPE[t], weight, p, t, species, gradient);
        REAL *swap = p->dnext; p->dnext = p->dh; p->dh = swap;
    }
}

#endif
