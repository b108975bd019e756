/* Whether training goes anywhere; see trend.h. Invariant: step 0 is no part of what is judged at the end, since its
 * loss is that of the initial theta. */
#include "server/show/trend.h"

#include <math.h>

#include "server/show/sums.h"

static const double ZERO_MARGIN = 1.02;                      /* times the loss of theta = 0: noise of minibatches */
static const double EARLIER_MARGIN = 1.2;                    /* times the least loss of an epoch, */
static const double EARLIER_OF_ZERO = 0.05;                  /* and beyond it by so much of the loss of theta = 0 */
static const double RISE_MARGIN = 1.05, RISE_OF_ZERO = 0.01; /* likewise, of one epoch after the other */
static const double RISES_MAX = 3, RISE_FORGIVEN = 0.25;
static const double RISE_OF_FIRST = 0.5; /* lower losses swing on their way down, as with momentum */
static const double ACCURACY_NOISE = 0.0005;

static double mean_loss(const struct trend_sums *sums)
{
    return sums->count ? sums->loss / (double)sums->count : NAN;
}

static void add(struct trend_sums *sums, double loss_sum, uint64_t count, uint64_t correct)
{
    sums->steps++;
    sums->count += count;
    sums->correct += correct;
    sums->loss += loss_sum;
}

void trend_begin(struct trend *trend, const struct trend_facts *facts)
{
    *trend = (struct trend){.facts = *facts, .last = NAN, .best = NAN, .eval_accuracy = NAN};
}

static bool risen(const struct trend *t, double from, double to, double margin, double of_zero)
{
    return to > from * margin && to > from + of_zero * t->facts.zero_loss;
}

static void end_epoch(struct trend *t)
{
    double loss = mean_loss(&t->epoch);
    if (t->epochs > 0) {
        bool rise = risen(t, t->last, loss, RISE_MARGIN, RISE_OF_ZERO) && !(loss < RISE_OF_FIRST * t->first);
        t->rises = rise ? t->rises + 1 : fmax(0, t->rises - RISE_FORGIVEN);
        t->best = fmin(t->best, t->last); /* NaN is no least one */
    }
    if (t->epochs == 0)
        t->first = loss;
    t->last = loss;
    t->epochs++;
    t->before = t->epoch;
    t->epoch = (struct trend_sums){0};
}

void trend_step(struct trend *t, uint64_t train_step, double loss_sum, uint64_t count, uint64_t correct)
{
    t->steps = train_step + 1;
    add(&t->epoch, loss_sum, count, correct);
    if (train_step > 0 && train_step >= t->facts.train_steps / 2)
        add(&t->late, loss_sum, count, correct);
    if (t->steps % t->facts.steps_per_epoch == 0)
        end_epoch(t);
}

void trend_eval(struct trend *t, uint64_t count, uint64_t correct)
{
    t->eval_accuracy = count ? (double)correct / (double)count : NAN;
}

bool trend_rises(struct trend *t)
{
    if (t->told || t->rises < RISES_MAX)
        return false;
    t->told = true;
    return true;
}

/* The last whole epoch and what came after it; of a run of less than two, its later half. */
static struct trend_sums at_end(const struct trend *t)
{
    if (t->epochs < 2)
        return t->late;
    struct trend_sums sums = t->epoch;
    if (2 * sums.steps < t->facts.steps_per_epoch) {
        sums.steps += t->before.steps;
        sums.count += t->before.count;
        sums.correct += t->before.correct;
        sums.loss += t->before.loss;
    }
    return sums;
}

static void judge_accuracy(const struct trend *t, const struct trend_sums *end, struct trend_verdict *verdict)
{
    bool evaluated = !isnan(t->eval_accuracy) && t->facts.eval_majority > 0;
    verdict->majority = evaluated ? t->facts.eval_majority : t->facts.majority;
    verdict->accuracy = evaluated ? t->eval_accuracy : (double)end->correct / (double)end->count;
    double noise = evaluated ? 0 : ACCURACY_NOISE;
    if (!evaluated && t->epochs < 2) /* rows are counted while theta moves: of one epoch that says little */
        return;
    if (verdict->majority > 0 && verdict->majority < 1 && verdict->accuracy <= verdict->majority + noise)
        verdict->what |= TREND_MAJORITY;
}

struct trend_verdict trend_end(const struct trend *t, bool classifies)
{
    struct trend_sums end = at_end(t);
    struct trend_verdict verdict = {.loss = mean_loss(&end), .earlier = fmin(t->best, t->epoch.steps ? t->last : NAN)};
    if (end.count == 0)
        return verdict;
    if (t->facts.zero_loss > 0 && verdict.loss > t->facts.zero_loss * ZERO_MARGIN)
        verdict.what |= TREND_ABOVE_ZERO;
    if (!isnan(verdict.earlier) && risen(t, verdict.earlier, verdict.loss, EARLIER_MARGIN, EARLIER_OF_ZERO))
        verdict.what |= TREND_ABOVE_EARLIER;
    if (classifies)
        judge_accuracy(t, &end, &verdict);
    return verdict;
}

/* ---- a run that goes on ---- */

static json_t *part_json(const struct trend_sums *sums)
{
    return json_pack("{s:I, s:I, s:I, s:o}", "steps", (json_int_t)sums->steps, "count", (json_int_t)sums->count,
                     "correct", (json_int_t)sums->correct, "loss", sums_real(sums->loss));
}

static void part_read(const json_t *from, const char *name, struct trend_sums *sums)
{
    const json_t *part = json_object_get(from, name);
    sums_read_count(part, "steps", &sums->steps);
    sums_read_count(part, "count", &sums->count);
    sums_read_count(part, "correct", &sums->correct);
    sums_read_real(part, "loss", &sums->loss);
}

json_t *trend_sums_json(const struct trend *trend)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "steps", (json_int_t)trend->steps,
                     "epochs", (json_int_t)trend->epochs, "epoch", part_json(&trend->epoch), "before",
                     part_json(&trend->before), "late", part_json(&trend->late), "first", sums_real(trend->first),
                     "last", sums_real(trend->last), "best", sums_real(trend->best), "rises", sums_real(trend->rises),
                     "told", trend->told, "eval_accuracy", sums_real(trend->eval_accuracy));
}

void trend_resume(struct trend *trend, const json_t *sums)
{
    sums_read_count(sums, "steps", &trend->steps);
    sums_read_count(sums, "epochs", &trend->epochs);
    part_read(sums, "epoch", &trend->epoch);
    part_read(sums, "before", &trend->before);
    part_read(sums, "late", &trend->late);
    sums_read_real(sums, "first", &trend->first);
    sums_read_real(sums, "last", &trend->last);
    sums_read_real(sums, "best", &trend->best);
    sums_read_real(sums, "rises", &trend->rises);
    sums_read_real(sums, "eval_accuracy", &trend->eval_accuracy);
    trend->told = json_is_true(json_object_get(sums, "told"));
}
