/* The name of all that decides the bits of a gradient, and OpenBLAS. Apart from kernels.h, so that dp-server, which
 * needs no BLAS, is linked without it: loading OpenBLAS starts threads, and when memory is short they keep the process
 * from ending. */
#ifndef DP_COMMON_KERNELS_NUMERICS_H
#define DP_COMMON_KERNELS_NUMERICS_H

/* Sets OpenBLAS to one thread (two threads give other bits). Call once at start-up, before any BLAS call. Thread: main,
 * before others start. */
void blas_init(void);
/* Names all that decides the bits of a slot gradient on this machine: build, kernel table, OpenBLAS version and core.
 * BSP refuses workers whose names differ. One line, shorter than 160 bytes, valid until the next kernels_select.
 * Thread: any. */
const char *numerics_fingerprint(void);

#endif
