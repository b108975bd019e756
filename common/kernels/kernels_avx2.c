/* The kernels for CPUs with AVX2, on vectors of 8 floats. Thread: any. */
#include <immintrin.h>

#include "common/kernels/kernels.h"

#define SIMD_BYTES 32
#define SIMD_SQRT(v) ((v_float)_mm256_sqrt_ps((__m256)(v)))
#define SIMD_SQRT_WIDE(v) ((v_double)_mm256_sqrt_pd((__m256d)(v)))
#define SIMD_NAME "avx2"
#define SIMD_TABLE kernels_avx2
#include "common/kernels/kernels_simd.h"
