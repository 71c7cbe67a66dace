/* Derivatives of a loss by the weights (mace.c has energies, forces and dipoles; update.c has the loss).
 *
 * A loss of energies and forces needs the derivative of the forces by the weights. With e = ∂loss/∂energy and v = −∂loss/∂forces held
 * fixed, the gradient of the loss is the derivative by the weights of
 *
 *     S = e E(x) + d/dτ E(x + τ v) at τ = 0.
 *
 * The derivative of S by what changes along v is that of E by what it is, which the forces were made of and which mace.c has kept. So one
 * pass forward carries the derivatives along v, and one pass backward those of S by the values: no second pass of either kind over what
 * is known already, nothing recorded, nothing approximate. A second set of arrays, `along`, has derivatives along v where the first one has
 * values, and derivatives of S where the first one has those of E. A loss of dipoles has first derivatives only, and one set of arrays.
 *
 * The gradient has the layout of the weights and is added to what is there. The transposed copies that follow the weights get none.
 */
#define TRAINING 1
#include "mace.c"

struct pass {
    struct work value, along;
    double *turn; /* [pairs][NY] harmonics along v */
};

static size_t divide_pass(struct pass *p, char *base, size_t atoms, size_t pairs) {
    size_t used = divide(&p->value, base, atoms, pairs, 1);
    if (DIPOLE) return used;
    char *top = base ? base + used : NULL;
    used += divide(&p->along, top, atoms, pairs, 0);
    top = base ? base + used : NULL;
    p->turn = take(&top, sizeof(double) * NY * pairs);
    return used + sizeof(double) * NY * pairs + 64;
}

/* dw[k][n] += Σ_i x[in_i + k] y[out_i + n], and the same of x1, y1 unless NULL or DIPOLE; k is a multiple of 4, n of LANES */
INLINE void outer_tile(const int tile, int m, const int *in, const int *out, const REAL *x, const REAL *y, const REAL *x1, const REAL *y1,
                       int n, REAL *dw) {
    V sum[4][TILE];
    UNROLL for (int j = 0; j < 4; j++)
        UNROLL for (int v = 0; v < tile; v++) sum[j][v] = load(dw + (size_t)j * n + v * LANES);
    for (int both = 0; both < 2 && x; both++, x = x1, y = y1)
        for (int i = 0; i < m; i++) {
            V b[TILE];
            UNROLL for (int v = 0; v < tile; v++) b[v] = load(y + out[i] + v * LANES);
            UNROLL for (int j = 0; j < 4; j++)
                UNROLL for (int v = 0; v < tile; v++) sum[j][v] += x[in[i] + j] * b[v];
        }
    UNROLL for (int j = 0; j < 4; j++)
        UNROLL for (int v = 0; v < tile; v++) store(dw + (size_t)j * n + v * LANES, sum[j][v]);
}

static void outer(int m, const int *in, const int *out, const REAL *x, const REAL *y, const REAL *x1, const REAL *y1, int k, int n, REAL *dw) {
    const int two = !DIPOLE && x1;
    int col = 0;
    for (; col + TILE * LANES <= n; col += TILE * LANES)
        for (int j = 0; j < k; j += 4)
            outer_tile(TILE, m, in, out, x + j, y + col, two ? x1 + j : NULL, two ? y1 + col : NULL, n, dw + (size_t)j * n + col);
    for (; col < n; col += LANES)
        for (int j = 0; j < k; j += 4)
            outer_tile(1, m, in, out, x + j, y + col, two ? x1 + j : NULL, two ? y1 + col : NULL, n, dw + (size_t)j * n + col);
}

#if !DIPOLE

/* ---- along v ---- */

static void geometry_along(struct pass *p, const double *v) {
    const struct work *w = &p->value;
    for (int e = 0; e < w->pairs; e++) {
        const double *u = w->unit + 3 * e, *y = w->y + (size_t)NY * e;
        double arm[3], dr = 0, *dy = p->turn + (size_t)NY * e;
        for (int a = 0; a < 3; a++) arm[a] = v[3 * w->second[e] + a] - v[3 * w->first[e] + a], dr += u[a] * arm[a];
        for (int m = 0; m < NY; m++) dy[m] = 0;
        for (int a = 0; a < 3 && LMAX > 0; a++) dy[1 + a] = 1.7320508075688772 * (arm[a] - u[a] * dr) / w->length[e];
        for (int n = 0; n < LADDERS; n++)
            dy[LADDER[n].m] += LADDER[n].factor * (dy[LADDER[n].a] * y[LADDER[n].b] + y[LADDER[n].a] * dy[LADDER[n].b]);
        for (int n = 0; n < BESSEL; n++)
            p->along.bessel[(size_t)BESSEL * e + n] = (REAL)(w->dbessel[(size_t)BESSEL * e + n] * dr);
    }
}

/* Tensor product of an edge. Names that end in 1 are along v; inner: what is sent changes along v. */
INLINE void path_along(const int d1, const int d3, const int inner, REAL sign, const REAL *t, const REAL *t1, const REAL *r, const REAL *r1,
                       const REAL *h, const REAL *h1, REAL *mid1, int stride) {
    for (int c = 0; c < C; c += LANES) {
        V radial = load(r + c) * sign, radial1 = load(r1 + c) * sign, g[7], g1[7];
        UNROLL for (int i = 0; i < d1; i++) {
            V sent = load(h + i * C + c);
            g[i] = radial * sent, g1[i] = radial1 * sent;
            if (inner) g1[i] += radial * load(h1 + i * C + c);
        }
        UNROLL for (int k = 0; k < d3; k++) {
            V sum = load(mid1 + (size_t)k * stride + c);
            UNROLL for (int i = 0; i < d1; i++) sum += t[i * d3 + k] * g1[i] + t1[i * d3 + k] * g[i];
            store(mid1 + (size_t)k * stride + c, sum);
        }
    }
}

/* Of S by the messages to S by the radial weights and by what is sent; dmid1 are those of S, dmid those of E. */
INLINE void path_along_back(const int d1, const int d3, const int inner, REAL sign, const REAL *t, const REAL *t1, const REAL *r,
                            const REAL *r1, const REAL *h, const REAL *h1, const REAL *dmid, const REAL *dmid1, int stride, REAL *dr1,
                            REAL *dh1) {
    for (int c = 0; c < C; c += LANES) {
        V radial = load(r + c), radial1 = load(r1 + c), dm[9], dm1[9], dradial1 = load(dr1 + c);
        UNROLL for (int k = 0; k < d3; k++) {
            dm[k] = load(dmid + (size_t)k * stride + c) * sign;
            dm1[k] = load(dmid1 + (size_t)k * stride + c) * sign;
        }
        UNROLL for (int i = 0; i < d1; i++) {
            V s = {0}, s1 = {0};
            UNROLL for (int k = 0; k < d3; k++) {
                s1 += t[i * d3 + k] * dm1[k] + t1[i * d3 + k] * dm[k];
                s += t[i * d3 + k] * dm[k];
            }
            dradial1 += s1 * load(h + i * C + c);
            if (inner) dradial1 += s * load(h1 + i * C + c);
            store(dh1 + i * C + c, load(dh1 + i * C + c) + s1 * radial + s * radial1);
        }
        store(dr1 + c, dradial1);
    }
}

/* Every pair, path and direction. */
INLINE void convolve_along(const int forward, const int inner, const struct shape *s, struct pass *p, int t) {
    const struct work *w = &p->value;
    const struct layer *l = &w->layer[t];
    struct layer *d = &p->along.layer[t];
    const int paths = s->paths_end - s->paths;
    if (forward) memset(d->mid, 0, sizeof(REAL) * (size_t)w->atoms * s->middle * C);
    else {
        memset(d->dr, 0, sizeof(REAL) * (size_t)w->pairs * paths * C);
        memset(d->dup, 0, sizeof(REAL) * (size_t)w->atoms * s->rows_in * C);
    }
    for (int e = 0; e < w->pairs; e++) {
        REAL y[TENSOR], y1[TENSOR];
        couple(s, w->y + (size_t)e * NY, y);
        couple(s, p->turn + (size_t)e * NY, y1);
        for (int path = s->paths; path < s->paths_end; path++) {
            const struct path *q = &PATH[path];
            const size_t place = ((size_t)e * paths + path - s->paths) * C;
            for (int back = 0; back < 2; back++) {
                int from = back ? w->second[e] : w->first[e], to = back ? w->first[e] : w->second[e];
                REAL sign = back && q->l2 % 2 ? -1 : 1;
                const size_t row = ((size_t)from * s->rows_in + q->l1 * q->l1) * C, middle = ((size_t)to * s->middle + q->row) * C;
                switch (q->kind) {
#define ALONG(kind, l1, l3)                                                                                                                \
    case kind:                                                                                                                             \
        if (forward)                                                                                                                       \
            path_along(2 * l1 + 1, 2 * l3 + 1, inner, sign, y + q->t, y1 + q->t, l->r + place, d->r + place, l->up + row, d->up + row,     \
                       d->mid + middle, q->stride * C);                                                                                    \
        else                                                                                                                               \
            path_along_back(2 * l1 + 1, 2 * l3 + 1, inner, sign, y + q->t, y1 + q->t, l->r + place, d->r + place, l->up + row,             \
                            d->up + row, l->dmid + middle, d->dmid + middle, q->stride * C, d->dr + place, d->dup + row);                  \
        break;
                    FOR_TRIPLES(ALONG)
                }
            }
        }
    }
}

INLINE V head_along(const int q, const V *x, const V *x1) {
    V h = CORRELATION > 1 ? x[HEAD[q].factor[0]] : (V){0} + 1, along = CORRELATION > 1 ? x1[HEAD[q].factor[0]] : (V){0};
    UNROLL for (int f = 1; f < CORRELATION - 1; f++) {
        along = along * x[HEAD[q].factor[f]] + h * x1[HEAD[q].factor[f]];
        h *= x[HEAD[q].factor[f]];
    }
    return along;
}

static void contract_along(const struct shape *s, const REAL *weight, const struct work *w, const int *species, const struct layer *l,
                           struct layer *d) {
    for (int i = 0; i < w->atoms; i++) {
        const REAL *k = weight + s->poly + (size_t)species[i] * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES) {
            V x[NY + 1], x1[NY + 1], b1[HIDDEN_ROWS];
            for (int m = 0; m < NY; m++) x[m] = load(l->a + ((size_t)i * NY + m) * C + c), x1[m] = load(d->a + ((size_t)i * NY + m) * C + c);
            x[NY] = (V){0} + 1, x1[NY] = (V){0};
            for (int m = 0; m < s->rows_out; m++) b1[m] = (V){0};
            for (int q = s->heads; q < s->heads_end; q++) {
                const V h = head(q, x), h1 = head_along(q, x, x1);
                for (int n = HEAD[q].monomials; n < HEAD[q + 1].monomials; n++) {
                    const V along = h1 * x[MONOMIAL[n].last] + h * x1[MONOMIAL[n].last];
                    for (int t = MONOMIAL[n].terms; t < MONOMIAL[n + 1].terms; t++)
                        b1[TERM[t]] += load(k + (size_t)(t - s->terms) * C + c) * along;
                }
            }
            for (int m = 0; m < s->rows_out; m++) store(d->poly + ((size_t)i * s->rows_out + m) * C + c, b1[m]);
        }
    }
}

static void forward_along(const struct shape *s, const REAL *weight, struct pass *p, int t, const int *species) {
    struct work *w = &p->value, *v = &p->along;
    struct layer *l = &w->layer[t], *d = &v->layer[t], *next = &v->layer[t + 1];
    const int paths = s->paths_end - s->paths, atoms = w->atoms, pairs = w->pairs;
    for (int o = 0; o <= s->l_in && t > 0; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_in, s->rows_in, w->in, w->out);
        matmul(m, w->in, w->out, d->h, weight + s->up + (size_t)o * C * C, C, C, d->up, 0);
    }
    const REAL *x = v->bessel;
    for (int k = 0, n = BESSEL; k < DEPTH; n = WIDTH[k], x = d->act[k], k++) {
        plain_rows(pairs, n, WIDTH[k], w->in, w->out);
        matmul(pairs, w->in, w->out, x, weight + s->radial[k], n, WIDTH[k], d->act[k], 0);
        for (int i = 0; i < pairs * WIDTH[k]; i++) l->bend[k][i] *= d->act[k][i], d->act[k][i] *= l->slope[k][i];
    }
    plain_rows(pairs, WIDTH[DEPTH - 1], paths * C, w->in, w->out);
    matmul(pairs, w->in, w->out, x, weight + s->radial[DEPTH], WIDTH[DEPTH - 1], paths * C, d->r, 0);
    if (t) convolve_along(1, 1, s, p, t);
    else convolve_along(1, 0, s, p, t);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) {
            int m = middle_rows(s, w, g, o, w->in, w->out);
            matmul(m, w->in, w->out, d->mid, weight + s->linear[o] + (size_t)g * s->count[o] * C * C, s->count[o] * C, C, d->a, 0);
        }
    contract_along(s, weight, w, species, l, d);
    for (int o = 0; o <= s->l_out; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_out, s->rows_out, w->in, w->out);
        matmul(m, w->in, w->out, d->poly, weight + s->product + (size_t)o * C * C, C, C, next->h, 0);
        for (int g = 0; g < SPECIES && t > 0; g++) {
            m = rows_of(w->order, w->group[g], w->group[g + 1], o, s->rows_in, s->rows_out, w->in, w->out);
            matmul(m, w->in, w->out, d->h, weight + s->skip + ((size_t)g * (s->l_out + 1) + o) * C * C, C, C, next->h, 1);
        }
    }
}

#endif

/* ---- backward, collecting the gradient ---- */

/* Gradient of the weights of the contraction, and of S by what it contracts. Those of an element are added up for all its atoms, a few
 * channels at a time, to stay in the cache. */
static void contract_collect(const struct shape *s, const REAL *weight, const struct work *w, const struct layer *l, struct layer *d,
                             REAL *gradient) {
    for (int g = 0; g < SPECIES; g++) {
        const size_t start = s->poly + (size_t)g * (s->terms_end - s->terms) * C;
        for (int c = 0; c < C; c += LANES)
            for (int n = w->group[g]; n < w->group[g + 1]; n++) {
                const int i = w->order[n];
                V x[NY + 1], x1[NY + 1], dx[NY + 1], db[HIDDEN_ROWS], db1[HIDDEN_ROWS]; /* db: of E, db1 and dx: of S */
                for (int m = 0; m < NY; m++) {
                    x[m] = load(l->a + ((size_t)i * NY + m) * C + c), dx[m] = (V){0};
                    if (!DIPOLE) x1[m] = load(d->a + ((size_t)i * NY + m) * C + c);
                }
                x[NY] = (V){0} + 1, x1[NY] = dx[NY] = (V){0};
                for (int m = 0; m < s->rows_out; m++) {
                    db1[m] = load(d->dpoly + ((size_t)i * s->rows_out + m) * C + c);
                    if (!DIPOLE) db[m] = load(l->dpoly + ((size_t)i * s->rows_out + m) * C + c);
                }
                for (int q = s->heads; q < s->heads_end; q++) {
                    const V h = head(q, x);
#if DIPOLE
                    for (int j = HEAD[q].monomials; j < HEAD[q + 1].monomials; j++)
                        for (int t = MONOMIAL[j].terms; t < MONOMIAL[j + 1].terms; t++) {
                            REAL *place = gradient + start + (size_t)(t - s->terms) * C + c;
                            store(place, load(place) + db1[TERM[t]] * h * x[MONOMIAL[j].last]);
                        }
#else
                    const V h1 = head_along(q, x, x1);
                    V dh = {0}, dh1 = {0}; /* derivative of S by the head and by the head along v */
                    for (int j = HEAD[q].monomials; j < HEAD[q + 1].monomials; j++) {
                        const V last = x[MONOMIAL[j].last], last1 = x1[MONOMIAL[j].last], product = h * last, along = h1 * last + h * last1;
                        V sum = {0}, sum1 = {0};
                        for (int t = MONOMIAL[j].terms; t < MONOMIAL[j + 1].terms; t++) {
                            const size_t place = start + (size_t)(t - s->terms) * C + c;
                            const V k = load(weight + place);
                            sum += k * db[TERM[t]], sum1 += k * db1[TERM[t]];
                            store(gradient + place, load(gradient + place) + db1[TERM[t]] * product + db[TERM[t]] * along);
                        }
                        dx[MONOMIAL[j].last] += sum1 * h + sum * h1;
                        dh += sum1 * last + sum * last1, dh1 += sum * last;
                    }
                    UNROLL for (int j = 0; j < CORRELATION - 1; j++) {
                        V others = (V){0} + 1, turned = {0};
                        UNROLL for (int k = 0; k < CORRELATION - 1; k++)
                            if (k != j) {
                                turned = turned * x[HEAD[q].factor[k]] + others * x1[HEAD[q].factor[k]];
                                others *= x[HEAD[q].factor[k]];
                            }
                        dx[HEAD[q].factor[j]] += dh * others + dh1 * turned;
                    }
#endif
                }
                for (int m = 0; m < NY && !DIPOLE; m++) store(d->da + ((size_t)i * NY + m) * C + c, dx[m]);
            }
    }
}

/* One layer. For dipoles the derivatives are known and along is the same as value. */
static void collect(const struct shape *s, const REAL *weight, struct pass *p, int t, const int *species, REAL *gradient) {
    struct work *w = &p->value, *v = DIPOLE ? w : &p->along;
    struct layer *l = &w->layer[t], *d = &v->layer[t], *out = &w->layer[t + 1], *dout = &v->layer[t + 1];
    const int paths = s->paths_end - s->paths, atoms = w->atoms, pairs = w->pairs;
    for (int i = 0; i < atoms && t == 0 && s->residual; i++)
        for (int c = 0; c < C; c++) gradient[s->table + (size_t)species[i] * C + c] += dout->dh[(size_t)i * s->rows_out * C + c];
    if (!DIPOLE && t > 0) memset(d->dh, 0, sizeof(REAL) * (size_t)atoms * s->rows_in * C);
    for (int o = 0; o <= s->l_out; o++) {
        for (int g = 0; g < SPECIES && t > 0; g++) {
            const size_t place = ((size_t)g * (s->l_out + 1) + o) * C * C;
            int m = rows_of(w->order, w->group[g], w->group[g + 1], o, s->rows_in, s->rows_out, w->in, w->out);
            outer(m, w->in, w->out, l->h, dout->dh, d->h, out->dh, C, C, gradient + s->skip + place);
            if (!DIPOLE) matmul(m, w->out, w->in, dout->dh, weight + s->skip_back + place, C, C, d->dh, 0);
        }
        int m = rows_of(w->order, 0, atoms, o, s->rows_out, s->rows_out, w->in, w->out);
        outer(m, w->in, w->out, l->poly, dout->dh, d->poly, out->dh, C, C, gradient + s->product + (size_t)o * C * C);
        if (!DIPOLE) matmul(m, w->in, w->out, dout->dh, weight + s->product_back + (size_t)o * C * C, C, C, d->dpoly, 0);
    }
    contract_collect(s, weight, w, l, d, gradient);
    for (int g = 0; g < s->groups; g++)
        for (int o = 0; o <= LMAX; o++) {
            const int k = s->count[o] * C;
            int m = middle_rows(s, w, g, o, w->in, w->out);
            outer(m, w->in, w->out, l->mid, d->da, d->mid, l->da, k, C, gradient + s->linear[o] + (size_t)g * k * C);
            if (!DIPOLE) matmul(m, w->out, w->in, d->da, weight + s->linear_back[o] + (size_t)g * k * C, C, k, d->dmid, 0);
        }
#if !DIPOLE
    if (t) convolve_along(0, 1, s, p, t);
    else convolve_along(0, 0, s, p, t);
#endif
    for (int i = 0; i < atoms && t == 0; i++) /* the features of the elements do not change along v */
        for (int c = 0; c < C; c++) gradient[s->up + (size_t)species[i] * C + c] += d->dup[(size_t)i * C + c];
    for (int o = 0; o <= s->l_in && t > 0; o++) {
        int m = rows_of(w->order, 0, atoms, o, s->rows_in, s->rows_in, w->in, w->out);
        outer(m, w->in, w->out, l->h, d->dup, d->h, l->dup, C, C, gradient + s->up + (size_t)o * C * C);
        if (!DIPOLE) matmul(m, w->in, w->out, d->dup, weight + s->up_back + (size_t)o * C * C, C, C, d->dh, 1);
    }
    const int last = WIDTH[DEPTH - 1];
    plain_rows(pairs, last, paths * C, w->in, w->out);
    outer(pairs, w->in, w->out, l->act[DEPTH - 1], d->dr, d->act[DEPTH - 1], l->dr, last, paths * C, gradient + s->radial[DEPTH]);
    if (!DIPOLE) matmul(pairs, w->out, w->in, d->dr, weight + s->radial_back[DEPTH], paths * C, last, d->dact[DEPTH - 1], 0);
    for (int k = DEPTH - 1; k >= 0; k--) {
        const int n = k ? WIDTH[k - 1] : BESSEL;
        for (int i = 0; i < pairs * WIDTH[k] && !DIPOLE; i++) d->dact[k][i] = d->dact[k][i] * l->slope[k][i] + l->bend[k][i];
        plain_rows(pairs, n, WIDTH[k], w->in, w->out);
        outer(pairs, w->in, w->out, k ? l->act[k - 1] : w->bessel, d->dact[k], k ? d->act[k - 1] : v->bessel, l->dact[k], n, WIDTH[k],
              gradient + s->radial[k]);
        if (k && !DIPOLE) matmul(pairs, w->out, w->in, d->dact[k], weight + s->radial_back[k], WIDTH[k], n, d->dact[k - 1], 0);
    }
}

/* ---- the whole: memory has what the values were made of ---- */

#if DIPOLE

/* slope[molecules][3] = ∂loss/∂μ. */
static void loss_back(const struct model *model, struct pass *p, int molecules, const int *start, const int *species, const double *x,
                      const double *slope, REAL *gradient) {
    const REAL *weight = model->weight;
    struct work *w = &p->value;
    memset(w->dy, 0, sizeof(double) * (size_t)w->pairs * NY); /* added to, though nobody asks for forces */
    memset(w->dbess, 0, sizeof(REAL) * (size_t)w->pairs * BESSEL);
    for (int t = LAYERS - 1; t >= 0; t--) {
        const struct shape *s = &SHAPE[t];
        const int stride = s->rows_out * C;
        REAL *dh = w->layer[t + 1].dh;
        if (t == LAYERS - 1) memset(dh, 0, sizeof(REAL) * (size_t)w->atoms * stride);
        for (int k = 0; k < molecules; k++) {
            const double *g = slope + 3 * k;
            double centre[3];
            centre_of(start[k], start[k + 1], x, centre);
            for (int i = start[k]; i < start[k + 1]; i++) {
                const REAL *h = w->layer[t + 1].h + (size_t)i * stride;
                double charge = 0;
                for (int a = 0; a < 3; a++) {
                    charge += g[a] * (x[3 * i + a] - centre[a]);
                    for (int c = 0; c < C; c++) {
                        gradient[s->readout + c] += (REAL)g[a] * h[(1 + a) * C + c];
                        dh[(size_t)i * stride + (1 + a) * C + c] += (REAL)g[a] * weight[s->readout + c];
                    }
                }
                for (int j = 0; j < READOUT; j++) {
                    const int at = i * READOUT + j;
                    gradient[s->outer + j] += (REAL)charge * w->layer[t].hidden[at];
                    w->layer[t].dhidden[at] = (REAL)charge * weight[s->outer + j] * w->layer[t].tilt[at];
                }
            }
        }
        plain_rows(w->atoms, stride, READOUT, w->in, w->out);
        outer(w->atoms, w->in, w->out, w->layer[t + 1].h, w->layer[t].dhidden, NULL, NULL, C, READOUT, gradient + s->inner);
        read_hidden_back(weight, w, t);
        backward(s, model, w, t, species);
        collect(s, weight, p, t, species, gradient);
    }
}

#else

/* energy[molecules] = ∂loss/∂E, along[atoms][3] = −∂loss/∂F. */
static void loss_back(const struct model *model, struct pass *p, int molecules, const int *start, const int *species, const double *energy,
                      const double *along, REAL *gradient) {
    const REAL *weight = model->weight;
    struct work *w = &p->value, *v = &p->along;
    geometry_along(p, along);
    for (int t = 0; t < LAYERS; t++) forward_along(&SHAPE[t], weight, p, t, species);
    const struct shape *s = &SHAPE[LAYERS - 1];
    struct layer *l = &w->layer[LAYERS - 1], *d = &v->layer[LAYERS - 1];
    plain_rows(w->atoms, s->rows_out * C, READOUT, w->in, w->out);
    matmul(w->atoms, w->in, w->out, v->layer[LAYERS].h, weight + s->inner, C, READOUT, d->hidden, 0);
    for (int k = 0; k < molecules; k++)
        for (int at = start[k] * READOUT; at < start[k + 1] * READOUT; at++) {
            const int j = at % READOUT;
            gradient[s->outer + j] += (REAL)energy[k] * l->hidden[at] + l->tilt[at] * d->hidden[at];
            d->dhidden[at] = weight[s->outer + j] * ((REAL)energy[k] * l->tilt[at] + l->curl[at] * d->hidden[at]);
        }
    outer(w->atoms, w->in, w->out, w->layer[LAYERS].h, d->dhidden, v->layer[LAYERS].h, l->dhidden, C, READOUT, gradient + s->inner);
    memset(v->layer[LAYERS].dh, 0, sizeof(REAL) * (size_t)w->atoms * s->rows_out * C);
    matmul(w->atoms, w->out, w->in, d->dhidden, weight + s->inner_back, READOUT, C, v->layer[LAYERS].dh, 0);
    for (int t = LAYERS - 1; t >= 0; t--) {
        collect(&SHAPE[t], weight, p, t, species, gradient);
        if (t == 0) break;
        const struct shape *below = &SHAPE[t - 1];
        for (int k = 0; k < molecules; k++)
            for (int i = start[k]; i < start[k + 1]; i++)
                for (int c = 0; c < C; c++) {
                    const size_t at = (size_t)i * below->rows_out * C + c;
                    gradient[below->readout + c] += (REAL)energy[k] * w->layer[t].h[at] + v->layer[t].h[at];
                    v->layer[t].dh[at] += (REAL)energy[k] * weight[below->readout + c];
                }
    }
}

#endif
