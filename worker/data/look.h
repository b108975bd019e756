/* A look at the data, for warnings about the training to come; nothing is computed with it. Thread: any. */
#ifndef DP_WORKER_DATA_LOOK_H
#define DP_WORKER_DATA_LOOK_H

#include "worker/data/data.h"

enum { DATA_LOOK_TEXT_MAX = 400 };

struct data_look {
    double zero_loss;  /* mean squared loss of theta = 0: of y^2/2; 0: labels are classes, or are not at hand */
    uint64_t majority; /* rows of the most frequent label; 0: labels are no classes, or are not at hand */
    char scales[DATA_LOOK_TEXT_MAX]; /* "'income' is around 5e+05, 'age' around 49"; "": columns are alike */
};

/* Looks at labels and columns; takes some tens of milliseconds at most, beyond which only every n-th row counts. */
void data_look_labels(const struct data *data, struct data_look *look);
/* Whether columns differ by orders of magnitude in what their values other than 0 are like (root of the mean square):
 * the largest 100 times as much as half of the columns, or 1000 times as much as one. names: [features], NULL: they
 * have none, and are numbered from 1. */
void data_look_scales(const struct data *data, const char *const *names, struct data_look *look);

#endif
