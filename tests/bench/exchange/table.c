/* The table of the exchange bench: ratios, the bounds that were asked for, and a mark where one is missed. Thread:
 * main. */
#include <stdio.h>

#include "tests/bench/exchange/bench.h"

enum { FLOATS_SMALL = 1000, FLOATS_LARGE = 10000000 };

/* The bound of a ratio or a rate: at most so much, or at least; 0: nothing. */
struct bound {
    double most, least;
};

static struct bound bound_bare(const struct exchange *x)
{
    if (x->transport == TRANSPORT_TCP && x->elems == FLOATS_SMALL)
        return (struct bound){.most = 1.5};
    if (x->transport == TRANSPORT_TCP && x->elems == FLOATS_LARGE)
        return (struct bound){.most = 1.15};
    return (struct bound){0};
}

static bool large_and_shared(const struct exchange *x)
{
    return x->transport == TRANSPORT_SHM && x->elems == FLOATS_LARGE && x->workers == 2;
}

static struct bound bound_tcp(const struct exchange *x)
{
    return (struct bound){.least = large_and_shared(x) ? 3.0 : 0.0};
}

static struct bound bound_memory(const struct exchange *x)
{
    return (struct bound){.least = large_and_shared(x) ? 0.5 : 0.0};
}

static struct bound bound_rows(const struct exchange *x)
{
    if (x->dim != 1 || x->shards != 1 || x->transport == TRANSPORT_IPC)
        return (struct bound){0};
    return (struct bound){.least = x->transport == TRANSPORT_SHM ? 60.0 : 40.0};
}

/* A number and what was asked for it. */
static void cell(struct table *table, double value, struct bound bound)
{
    bool missed = (bound.most > 0 && value > bound.most) || (bound.least > 0 && value < bound.least);
    printf(" %8.2f", value);
    if (bound.most > 0 || bound.least > 0) {
        printf(" (%s %g)%s", bound.most > 0 ? "<=" : ">=", bound.most > 0 ? bound.most : bound.least,
               missed ? " MISSED" : "");
        table->asked++;
    }
    table->missed += missed;
}

static bool row_head(struct table *table, const struct measured *m, unsigned long long size)
{
    printf("%-5s %9llu %7u %6u", TRANSPORT_NAMES[m->x.transport], size, m->x.workers, m->x.shards);
    if (m->dp.seconds > 0 && m->bare.seconds > 0) {
        printf(" %10.1f %10.1f", m->dp.seconds * 1e6, m->bare.seconds * 1e6);
        return true;
    }
    printf("  failed%s%s\n", m->dp.seconds > 0 ? "" : " dp", m->bare.seconds > 0 ? "" : " bare");
    table->failed++;
    return false;
}

/* The time in which the bytes that must be touched (each gradient and theta read, theta' written) stream through
 * memory, as a share of ours. */
static double memory_share(const struct measured *m)
{
    double touched = (double)sizeof(float) * (double)m->x.elems * (m->x.workers + 2);
    return touched / m->memory_rate / m->dp.seconds;
}

void table_dense_head(void)
{
    printf("\na dense tensor; dp: us of a step, bare: by ZeroMQ alone (shm: by tcp); cpu: dp's of bare's\n"
           "%-5s %9s %7s %6s %10s %10s %8s %8s %9s\n",
           "plane", "floats", "workers", "shards", "dp", "bare", "cpu", "dp/bare", "memory/dp, shm: tcp/dp");
}

void table_dense_row(struct table *table, const struct measured *m)
{
    if (!row_head(table, m, m->x.elems))
        return;
    printf(" %8.2f", m->dp.cpu_seconds / m->bare.cpu_seconds);
    cell(table, m->dp.seconds / m->bare.seconds, bound_bare(&m->x));
    cell(table, memory_share(m), bound_memory(&m->x));
    if (m->x.transport == TRANSPORT_SHM && m->tcp_seconds > 0)
        cell(table, m->tcp_seconds / m->dp.seconds, bound_tcp(&m->x));
    printf("\n");
    fflush(stdout);
}

void table_rows_head(void)
{
    printf("\n%d sorted random rows of %d, by name of their list; bare: as many floats\n"
           "%-5s %9s %7s %6s %10s %10s %8s %8s %9s\n",
           EXCHANGE_ROWS, EXCHANGE_TABLE_ROWS, "plane", "dim", "workers", "shards", "dp", "bare", "dp/bare",
           "memory/dp", "million rows pushed and pulled a second");
}

void table_rows_row(struct table *table, const struct measured *m)
{
    if (!row_head(table, m, m->x.dim))
        return;
    double rows = 2.0 * (double)m->x.elems / m->x.dim * m->x.workers;
    cell(table, m->dp.seconds / m->bare.seconds, (struct bound){0});
    cell(table, memory_share(m), (struct bound){0});
    cell(table, rows / m->dp.seconds / 1e6, bound_rows(&m->x));
    printf("\n");
    fflush(stdout);
}

void table_clients(struct table *table, const struct measured *m)
{
    printf("\n%u connections that push and pull %llu floats each", m->x.workers, (unsigned long long)m->x.elems);
    if (m->dp.seconds < 0 || m->bare.seconds < 0) {
        printf(": failed\n");
        table->failed++;
        return;
    }
    printf(", dp: %.0f pushes/s, bare echo: %.0f, dp/bare:", m->x.workers / m->dp.seconds,
           m->x.workers / m->bare.seconds);
    cell(table, m->bare.seconds / m->dp.seconds, (struct bound){.least = 0.7});
    printf("\n");
}

void table_end(const struct table *table)
{
    printf("\n%u of %u bounds missed", table->missed, table->asked);
    if (table->failed > 0)
        printf(", %u cases failed", table->failed);
    printf("\n");
}
