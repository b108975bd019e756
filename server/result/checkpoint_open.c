/* --checkpoint-dir; see checkpoint_open.h. Thread: head. */
#include "server/result/checkpoint_open.h"

#include <stdio.h>
#include <unistd.h>

#include "server/result/checkpoint.h"
#include "server/store/journal.h"
#include "server/store/writer.h"
#include "server/talk/shared.h"

enum { HOST_BYTES = 128 };

static dp_err open_dir(struct head *head, dp_error *err)
{
    char host[HOST_BYTES] = {0}, holder[HOST_BYTES + 64];
    struct checkpoints *c = head->checkpoints;
    (void)gethostname(host, sizeof host - 1);
    snprintf(holder, sizeof holder, "dp-server with pid %ld on %s", (long)getpid(), host);
    dp_err e = folder_open(head->opts->checkpoints.dir, "lock", holder, &c->folder, err);
    return e ? e : folder_sweep(&c->folder, err);
}

dp_err checkpoint_open(struct head *head, dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    dp_err e = open_dir(head, err);
    if (!e)
        e = writer_start(&c->writer, err);
    return e ? e : journal_open(&c->folder, c->writer, &head->journal, err);
}
