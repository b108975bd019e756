/* The kernels for CPUs with AVX-512 (F, DQ, VL), on vectors of 16 floats. Thread: any. */
#include <immintrin.h>

#include "common/kernels/kernels.h"

#define SIMD_BYTES 64
#define SIMD_SQRT(v) ((v_float)_mm512_sqrt_ps((__m512)(v)))
#define SIMD_SQRT_WIDE(v) ((v_double)_mm512_sqrt_pd((__m512d)(v)))
#define SIMD_NAME "avx512"
#define SIMD_TABLE kernels_avx512
#include "common/kernels/kernels_simd.h"
