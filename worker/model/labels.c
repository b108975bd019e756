/* From labels to targets. Thread: any. */
#include "worker/model/labels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { PLACE_TEXT = 48 };

/* One score whose sign tells the class. */
static bool is_binary(const struct model *model)
{
    return model->classifies && !model->multiclass;
}

enum label_use model_label_use(const struct model *model)
{
    return model->classifies ? LABEL_CLASSES : LABEL_VALUES;
}

dp_err model_check_labels(const struct model *model, const struct label_list *labels, const char *file, dp_error *err)
{
    char list[LABEL_LIST_TEXT];
    if (!model->classifies)
        return DP_OK;
    label_list_show(labels, list);
    if (labels->count < 2)
        return dp_fail(err, DP_MODEL, "%s: every row has the label %s; %s needs rows of two classes at least", file,
                       list, model->name);
    if (is_binary(model) && labels->count != 2)
        return dp_fail(err, DP_MODEL,
                       "%s: has %zu labels (%s), and %s needs two; use --model softmax or change the labels", file,
                       labels->count, list, model->name);
    return DP_OK;
}

bool model_known_pair(const struct label_list *labels)
{
    const struct label *l = labels->list;
    return labels->count == 2 && !l[0].word && !l[1].word && l[1].value == 1 && (l[0].value == -1 || l[0].value == 0);
}

/* A data set with -1, 1 is the same as one with 0, 1 for whom needs a sign. Unless it has the lesser labels of both. */
static bool is_other_lesser(const struct model *model, const struct label_set *set, const struct label_list *labels,
                            const struct label *label)
{
    if (!is_binary(model) || !model_known_pair(labels) || label->word)
        return false;
    return label->value == (labels->list[0].value == 0 ? -1 : 0) && label_set_find(set, &labels->list[0]) < 0;
}

static const char *place_text(const struct label_place *place, char buf[PLACE_TEXT])
{
    if (place->line)
        snprintf(buf, PLACE_TEXT, "%" PRIu64 ":", place->line);
    else
        snprintf(buf, PLACE_TEXT, " row %" PRIu64 ":", place->row);
    return buf;
}

/* The place among the labels, -1 where it is none of them. */
static ptrdiff_t class_find(const struct model *model, const struct label_set *set, const struct label_list *labels,
                            const struct label *label)
{
    ptrdiff_t found = label_list_find(labels, label);
    return found < 0 && is_other_lesser(model, set, labels, label) ? 0 : found;
}

dp_err model_map(const struct model *model, const struct label_set *set, const char *file,
                 const struct label_list *labels, const char *whose, float **ret_map, dp_error *err)
{
    float *map = mem_array(set->labels.count, sizeof *map);
    if (!map)
        return dp_fail(err, DP_NOMEM, "%s: out of memory for %zu labels", file, set->labels.count);
    for (size_t i = 0; i < set->labels.count; i++) {
        const struct label *label = &set->labels.list[i];
        ptrdiff_t found = class_find(model, set, labels, label);
        if (found < 0) {
            char list[LABEL_LIST_TEXT], place[PLACE_TEXT];
            free(map);
            return dp_fail(err, DP_MODEL, "%s:%s label '%s' is none of %s (%s); take data of the same kind", file,
                           place_text(&set->places[i], place), label->text, whose, label_list_show(labels, list));
        }
        map[i] = is_binary(model) ? 2 * (float)found - 1 : (float)found;
    }
    *ret_map = map;
    return DP_OK;
}

dp_err model_targets(const struct model *model, const struct data *data, const struct label_list *labels,
                     const char *whose, float **ret_targets, dp_error *err)
{
    AUTOFREE float *map = NULL;
    dp_err e = model->classifies ? model_map(model, data->label_set, data->name, labels, whose, &map, err) : DP_OK;
    if (e)
        return e;
    float *targets = mem_array(data->rows, sizeof *targets);
    if (!targets)
        return dp_fail(err, DP_NOMEM, "%s: out of memory for %" PRIu64 " labels", data->name, data->rows);
    for (uint64_t r = 0; r < data->rows; r++)
        targets[r] = map ? map[data->classes[r]] : data->labels[r];
    *ret_targets = targets;
    return DP_OK;
}
