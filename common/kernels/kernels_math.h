/* Things that every version of the kernels must share to give the same bits: constants, the order of a reduction, the
 * tables.
 *
 * exp, log1p and tanh are computed in double and rounded to float once, so that plain series suffice (no minimax fit,
 * no split constants) and a result is the correctly rounded one but for near-ties. Thread: any. */
#ifndef DP_COMMON_KERNELS_KERNELS_MATH_H
#define DP_COMMON_KERNELS_KERNELS_MATH_H

#include <stdint.h>

#include "common/kernels/kernels.h"

#define MATH_LN_2 0x1.62e42fefa39efp-1
#define MATH_LOG2_E 0x1.71547652b82fep+0
/* 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits in two's complement. */
#define MATH_ROUND 0x1.8p52
/* Beyond these e^x is 0 and infinite as a float; within them 2^n stays far inside the range of a double. */
#define MATH_EXP_LOW (-110.0)
#define MATH_EXP_HIGH 90.0
/* tanh(x) rounds to 1 from x = 9.02 on; the argument 2x is cut here. */
#define MATH_TANH_CUT 40.0
/* Bits of sqrt(1/2), and a bias that makes exponents positive: see log1p. */
#define MATH_SQRT_HALF_BITS 0x3FE6A09E667F3BCDu
#define MATH_EXPONENT_BIAS 1024
#define MATH_TWO_52_BITS 0x4330000000000000u

/* (e^r - 1)/r = sum of r^k/(k+1)!; with |r| <= ln(2)/2 what follows the last term is below 6e-10. */
enum { MATH_EXP_TERMS = 8 };
static const double MATH_EXP[MATH_EXP_TERMS] = {1.0,       1.0 / 2,   1.0 / 6,    1.0 / 24,
                                                1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320};
/* artanh(s)/s = sum of s^(2k)/(2k+1); with |s| <= 0.1716 what follows the last term is below 5e-11. */
enum { MATH_LOG_TERMS = 6 };
static const double MATH_LOG[MATH_LOG_TERMS] = {1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11};

enum { REDUCE_LANES = 8 };

/* The order in which the lanes of a reduction are added. */
static inline double reduce_lanes(const double l[REDUCE_LANES])
{
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;

#endif
