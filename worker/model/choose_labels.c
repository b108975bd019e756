/* Labels of a job; see choose_labels.h. Thread: any. */
#include "worker/model/choose_labels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "worker/model/labels.h"

static dp_err no_memory(const char *file, dp_error *err)
{
    return dp_fail(err, DP_NOMEM, "%s: out of memory for its labels", file);
}

/* 0, 1, ..., count - 1 */
static dp_err count_labels(uint32_t count, const char *file, struct label_list *ret_labels, dp_error *err)
{
    AUTOFREE double *values = mem_array(count, sizeof *values);
    if (!values)
        return no_memory(file, err);
    for (uint32_t c = 0; c < count; c++)
        values[c] = (double)c;
    return label_list_take(values, NULL, count, ret_labels, err);
}

/* Whether each label of the set is one of the list. */
static bool is_within(const struct label_set *set, const struct label_list *labels)
{
    for (size_t i = 0; i < set->labels.count; i++)
        if (label_list_find(labels, &set->labels.list[i]) < 0)
            return false;
    return true;
}

/* Those labels, if the data have no other: else the error of model_map, which names the place. */
static dp_err labels_of_job(const struct model *model, const struct label_list *labels, const struct label_set *found,
                            const char *file, struct label_list *ret_labels, dp_error *err)
{
    AUTOFREE float *map = NULL;
    dp_err e = model_map(model, found, file, labels, "the job's", &map, err);
    if (e)
        return e;
    return label_list_copy(labels, ret_labels) ? no_memory(file, err) : DP_OK;
}

/* --classes C with other labels than C of them. */
static dp_err classes_fail(const struct labels_wish *wish, const struct label_list *found, const char *file,
                           dp_error *err)
{
    char list[LABEL_LIST_TEXT];
    label_list_show(found, list);
    if (found->count > wish->classes)
        return dp_fail(err, DP_MODEL,
                       "%s: has %zu different labels (%s), but the job has --classes %" PRIu32
                       "; give --classes %zu, or leave it away",
                       file, found->count, list, wish->classes, found->count);
    return dp_fail(err, DP_MODEL,
                   "%s: has %zu different label%s (%s), but the job has --classes %" PRIu32
                   ", and which the others are nobody says; name all with --label-names, or leave --classes away",
                   file, found->count, found->count == 1 ? "" : "s", list, wish->classes);
}

static dp_err choose_shared(const struct model *model, const struct labels_wish *wish, const struct label_set *found,
                            const char *file, struct label_list *ret_labels, dp_error *err)
{
    struct label_list labels = {0}, counted = {0};
    if (label_set_sorted(found, &labels))
        return no_memory(file, err);
    dp_err e = DP_OK;
    if (wish->classes && labels.count != wish->classes) {
        e = count_labels(wish->classes, file, &counted, err);
        if (!e && (labels.count > wish->classes || !is_within(found, &counted)))
            e = classes_fail(wish, &labels, file, err);
        label_list_fini(&labels);
        labels = counted;
    }
    if (!e)
        e = model_check_labels(model, &labels, file, err);
    if (e)
        label_list_fini(&labels);
    else
        *ret_labels = labels;
    return e;
}

/* -1, 1 or 0, 1; none yet where the data have the label 1 alone, which both have. */
static dp_err choose_pair(const struct label_set *found, const char *file, struct label_list *ret_labels, dp_error *err)
{
    static const double PAIRS[2][2] = {{-1, 1}, {0, 1}};
    struct label_list pairs[2] = {0}, sorted = {0};
    bool fits[2] = {false, false};
    char list[LABEL_LIST_TEXT];
    dp_err e = DP_OK;
    for (int i = 0; !e && i < 2; i++) {
        e = label_list_take(PAIRS[i], NULL, 2, &pairs[i], err);
        fits[i] = !e && is_within(found, &pairs[i]);
    }
    if (!e && label_set_sorted(found, &sorted))
        e = no_memory(file, err);
    if (!e && !fits[0] && !fits[1])
        e = dp_fail(err, DP_MODEL,
                    "%s: has the labels %s, which are neither of -1, 1 nor of 0, 1; as no worker with data of its own "
                    "sees all labels, name both: dp-server --label-names A,B",
                    file, label_list_show(&sorted, list));
    if (!e && fits[0] != fits[1]) {
        *ret_labels = pairs[fits[1]];
        pairs[fits[1]] = (struct label_list){0};
    }
    label_list_fini(&pairs[0]);
    label_list_fini(&pairs[1]);
    label_list_fini(&sorted);
    return e;
}

static dp_err choose_local(const struct model *model, const struct labels_wish *wish, const struct label_set *found,
                           const char *file, struct label_list *ret_labels, dp_error *err)
{
    struct label_list counted = {0};
    *ret_labels = (struct label_list){0};
    if (!model->multiclass)
        return choose_pair(found, file, ret_labels, err);
    dp_err e = count_labels(wish->classes, file, &counted, err);
    if (!e)
        e = labels_of_job(model, &counted, found, file, ret_labels, err);
    if (e == DP_MODEL)
        e = dp_fail(err, e, "%.600s; or name the labels: dp-server --label-names A,B,...", err ? err->text : "");
    label_list_fini(&counted);
    return e;
}

dp_err choose_labels(const struct model *model, const struct labels_wish *wish, const struct label_set *found,
                     const char *file, struct label_list *ret_labels, dp_error *err)
{
    if (wish->names->count)
        return labels_of_job(model, wish->names, found, file, ret_labels, err);
    if (wish->local)
        return choose_local(model, wish, found, file, ret_labels, err);
    return choose_shared(model, wish, found, file, ret_labels, err);
}

bool labels_mixed(const struct label_set *found, const char *file, char text[CHOOSE_NOTICE_MAX])
{
    size_t word;
    if (!label_list_mixed(&found->labels, &word))
        return false;
    const struct label_place *at = &found->places[word];
    char place[32];
    snprintf(place, sizeof place, at->line ? ":%" PRIu64 ":" : ": row %" PRIu64 ":", at->line ? at->line : at->row);
    snprintf(text, CHOOSE_NOTICE_MAX, "%.400s%s label '%s' is a word, and there are numbers: it is a class of its own",
             file, place, found->labels.list[word].text);
    return true;
}
