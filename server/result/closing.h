/* The last of a server: the end that --json tells, and the closing of all that is on the loop. Thread: head. */
#ifndef DP_SERVER_RESULT_CLOSING_H
#define DP_SERVER_RESULT_CLOSING_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct head;
struct news;

/* The server's end, for --json's last object. */
struct ending {
    const char *event; /* "stopped", "diverged", "failed"; NULL: not known */
    char reason[1024]; /* one line */
    bool told;
    bool returns;            /* the server was stopped, and is to go on with the job once it is started again */
    bool finished_before;    /* the job was finished when the server was started, which ends at once then */
    bool saved_waits, saved; /* NEWS_SAVED came while a checkpoint was being written, and what it said */
    uint64_t at_ms;          /* when DONE or STOPPING was entered, or else CLOSING; 0: none was */
    uv_timer_t timer;        /* DONE, STOPPING: when the process ends at the latest */
};

/* Sets what --json ends with, unless that is known already. */
void head_ends_with(struct head *head, const char *event, const char *reason);
/* The last object of --json, once. */
void head_tell_end(struct head *head);
/* Ends the process at once with head->exit_status, once --json's last object is out. */
_Noreturn void head_exit(struct head *head);
/* Ends local workers, then all handles, and with them the loop. */
void head_close(struct head *head);
/* A state, a member or an export is over: the process ends once nobody is left to be told, or they had their time. */
void head_see_end(struct head *head);
/* NEWS_LEFT: the same where nobody is left. */
void head_closing_left(struct head *head, const struct news *news);
void head_on_supervise_ended(void *arg);

#endif
