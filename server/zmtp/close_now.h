/* close(2) of the C library, for a program that has a close of its own. Thread: any. */
#ifndef DP_SERVER_ZMTP_CLOSE_NOW_H
#define DP_SERVER_ZMTP_CLOSE_NOW_H

/* The next close in the order of libraries: a sanitizer must see descriptors being closed. */
int gate_close_now(int fd);

#endif
