/* Options of dp-server: the struct that the table in options.c fills. Thread: head. */
#ifndef DP_SERVER_OPTIONS_OPTIONS_H
#define DP_SERVER_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/zuv_bind.h"
#include "common/options/data_options.h"
#include "common/tensor/label_list.h"
#include "server/options/checkpoint.h"
#include "server/options/update.h"

enum balance_mode { BALANCE_OFF, BALANCE_SPEED };
enum on_stall { ON_STALL_WAIT, ON_STALL_FAIL, ON_STALL_DROP };
enum { ALLOWED_USERS_MAX = 64 };
enum speculate_mode { SPECULATE_OFF, SPECULATE_AUTO };

struct server_options {
    /* job */
    const char *model;
    uint64_t features; /* 0: as the first worker's data have it */
    bool sparse;
    uint64_t hash_bits; /* 0, or `features` is 2^hash_bits */
    uint64_t classes;   /* 0: likewise; else what --label-names has */
    const char *label_names;
    bool intercept;
    uint64_t batch;
    uint64_t slots;
    uint64_t epochs;
    uint64_t steps; /* 0: by epochs */
    uint64_t seed;
    const char *init_from; /* NULL: the initializers */
    bool mixed_numerics;
    int data_mode; /* 0: shared, 1: local */
    int by_blocks; /* --shuffle: 0 of all rows, 1 by blocks */
    uint64_t block_rows;
    uint64_t window_blocks;
    const char *consistency;
    struct update_options update;
    struct checkpoint_options checkpoints;
    /* server */
    const char *listen;
    const char *advertise;
    const char *ports; /* NULL: shards take free ones */
    const char *port_file;
    uint64_t shards, min_shard_kib;
    bool insecure, insecure_admin;
    const char *allow_users, *secret_file; /* NULL: the server's own; where it usually is */
    bool exit_when_done;
    const char *export_path;
    uint64_t export_timeout_s;
    uint64_t local_workers;
    uint64_t stall_timeout_s;
    int on_stall;          /* enum on_stall */
    uint64_t drop_slowest; /* slots of a step */
    uint64_t lease_s;
    uint64_t min_workers;
    uint64_t max_workers; /* 0: no limit */
    int balance;          /* enum balance_mode */
    int speculate;        /* enum speculate_mode */
    int shm;              /* enum shm_mode */
    int kernels;
    const char *config;
    /* output */
    int log_level; /* enum log_level */
    bool quiet;
    bool verbose;
    bool json;
    struct data_options data;
    bool local;                        /* not in the table: workers have data of their own */
    bool loopback;                     /* not in the table: `listen` can be reached from this host alone */
    bool users_all;                    /* not in the table: --allow-users all, */
    uint32_t users[ALLOWED_USERS_MAX]; /* else the uids that it names */
    uint32_t user_count;
    bool batch_given;               /* not in the table: --batch was not left at its default */
    struct label_list labels_asked; /* likewise: `label_names`, in the order of labels */
    uint32_t staleness;             /* likewise: what `consistency` says, see server/step/consistency.h */
    struct zuv_ports shard_ports;   /* likewise: what `ports` says */
    struct update_setup setup;      /* likewise: `update`, checked */
};

extern const struct option_table server_option_table;

#endif
