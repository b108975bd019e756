/* Projections: the nearest point of a set, in the Euclidean norm. Those that need a number of the whole vector come in
 * two parts, so that the number can be gathered over slices and shards: what to sum, and what to do with the sum. Sums
 * are doubles in the order of the elements. Thread: any. */
#ifndef DP_COMMON_TERMS_PROJECT_H
#define DP_COMMON_TERMS_PROJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* w * min(1, r / |w|), from the sum of squares: the factor. */
double project_ball_factor(double sum_squares, double r);
/* Each row of `row` elements to a norm of at most r (Keras's MaxNorm). n is a multiple of row. */
void project_max_norm(size_t n, size_t row, double r, float *w);
/* The same in the metric 1/rate_i: w_i = v_i / (1 + rate_i mu) with the mu that brings the norm to r. */
void project_max_norm_by_rate(size_t n, size_t row, double r, const float *rates, float *w);
/* The next mu of sum (v_i / (1 + rate_i mu))^2 = r^2 by Newton's step on 1/|x| (Reinsch 1971), which comes up to the
 * root from below: from `squares`, the sum of x_i^2 at mu, and `slope`, that of rate_i x_i^2 / (1 + rate_i mu). mu
 * itself once |x| is r to 1e-11. */
double project_ball_next(double mu, double squares, double slope, double r);
/* Each row to norm 1 (Keras's UnitNorm); a row of zeros has no nearest point and stays. */
void project_unit_norm(size_t n, size_t row, float *w);
/* w + a, each element: to a sum of s with a = (s - sum) / n. */
void project_shift(size_t n, double a, float *w);

/* The threshold theta of the projection onto {w >= 0, sum w = s} (w = max(v - theta, 0), Duchi et al. 2008) or, on |v|,
 * onto the l1-ball of radius s, found by Michelot's rounds (1986): each needs the sum and the number of the elements
 * above the last theta; finite and exact. */
struct michelot {
    double target; /* s */
    double theta;
    double count; /* elements above theta; it only falls */
    bool done;
};
/* From the sum of all n elements (of |v| for the ball). `ball`: nothing is to be done if the sum is within the target:
 * then theta = 0. */
void michelot_start(struct michelot *m, double target, double sum, double n, bool ball);
/* The next round, from the sum and number of the elements above m->theta. */
void michelot_round(struct michelot *m, double sum, double count);
/* ret[0]: sum of the elements of x (|x| if `magnitudes`) above theta; ret[1]: how many. */
void sums_above(size_t n, const float *x, double theta, bool magnitudes, double ret[2]);
/* x = max(x - theta, 0), or with the sign of x on |x|. */
void lower_by(size_t n, double theta, bool magnitudes, float *x);

/* Whole vectors in one place. */
void project_l2_ball(size_t n, double r, float *w);
void project_l1_ball(size_t n, double r, float *w);
void project_simplex(size_t n, double s, float *w);
void project_sum(size_t n, double s, float *w);

#endif
