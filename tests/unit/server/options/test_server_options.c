/* Options of dp-server that do not go together: usage errors before anything is opened. Those of the update are in
 * test_update_options.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/base/util.h"
#include "server/options/check.h"
#include "server/options/options.h"
#include "tests/unit/support/leaks.h"

enum { WORDS_MAX = 24 };

/* The outcome of a command line. */
static dp_err check(const char *text, dp_error *err)
{
    char copy[512], *words[WORDS_MAX] = {"dp-server"}, *rest = copy, *word;
    int count = 1;
    struct options given;
    struct server_options opts = {0};
    enum option_outcome outcome;
    snprintf(copy, sizeof copy, "%s", text);
    while ((word = strsep(&rest, " ")))
        words[count++] = word;
    dp_err e = options_parse(&given, &server_option_table, &opts, count, words, &outcome, err);
    if (e)
        return e;
    e = server_options_check(&given, &opts, err);
    if (!e)
        server_options_fini(&opts);
    options_fini(&given);
    return e;
}

#define LINEAR "--model linear "
#define LOCAL LINEAR "--local-workers 1 --data a.svm "

static const struct {
    const char *text, *says;
} REFUSED[] = {
    {"--batch 7", "option --model is missing"},
    {"--model liner", "is not one of linear, logistic, softmax, free"},
    {"--model free --sparse", "option --sparse is for linear"},
    {"--model free --hash-bits 4", "option --hash-bits is for linear"},
    {LINEAR "--hash-bits 4 --features 16", "exclude each other"},
    {LINEAR "--classes 3", "belongs to --model softmax"},
    {"--model softmax --classes 1", "at least 2"},
    {LINEAR "--steps 3 --epochs 2", "exclude each other"},
    {LINEAR "--steps 0", "option --steps: 0 is out of range: it must be 1 to 1000000000000000"},
    {LINEAR "--epochs 0", "option --epochs: 0 is out of range: it must be 1 to"},
    {LINEAR "--batch 0", "option --batch: 0 is out of range"},
    {LINEAR "--export=", "option --export: is empty"},
    {LINEAR "--steps 3 --steps 4", "option --steps: is given twice, as '3' and as '4'"},
    {LINEAR "--steps 10 --warmup-steps 11", "option --warmup-steps: 11 steps are more than the 10 of the job"},
    {LINEAR "--block-rows 3", "belong to --shuffle block"},
    {LINEAR "--min-workers 3 --max-workers 2", "at least 3, but at most 2"},
    {LINEAR "--seed 18446744073709551616", "it must be 0 to 18446744073709551615"},
    {LINEAR "--drop-slowest 8", "of 8 slots at most 7"},
    {LINEAR "--consistency sspp", "option --consistency: 'sspp' is not one of bsp, ssp:S"},
    {LINEAR "--sparse --consistency ssp:2", "rows of tables commit once a step"},
    {LINEAR "--listen 127.0.0.1:1", "option --listen: '127.0.0.1:1' is not an endpoint, it does not begin with tcp://"},
    {LINEAR "--listen tcp://127.0.0.1", "it has no port"},
    {LINEAR "--listen tcp://[::1]", "it has no port"},
    {LINEAR "--listen tcp://:1", "it has no host"},
    {LINEAR "--listen tcp://::1:7700", "an IPv6 address needs brackets"},
    {LINEAR "--listen tcp://127.0.0.1:80000", "option --listen: 'tcp://127.0.0.1:80000' is not an endpoint, its port"},
    {LINEAR "--listen tcp://127.0.0.1:7x", "its port is not a number"},
    {LINEAR "--listen tcp://127.0.0.1:", "its port is not a number"},
    {LINEAR "--listen ipc://", "it has no path"},
    {LINEAR "--listen tcp://0.0.0.0:1", "give --insecure"},
    {LINEAR "--listen tcp://127.0.0.1.example:1", "give --insecure"},
    {LINEAR "--allow-users no-such-user-here", "option --allow-users: there is no user 'no-such-user-here'"},
    {LINEAR "--allow-users root,no-such-user-here", "there is no user 'no-such-user-here'"},
    {LINEAR "--allow-users root,,root", "there is no user ''"},
    {LINEAR "--allow-users=", "option --allow-users: is empty; give a value, or leave it out"},
    {LINEAR "--allow-users -1", "there is no user '-1'"},
    {LINEAR "--allow-users 4294967295", "there is no user '4294967295'"},
    {LINEAR "--allow-users 18446744073709551617", "there is no user '18446744073709551617'"},
    {LINEAR "--allow-users root,all", "leave out the names"},
    {LINEAR "--listen tcp://0.0.0.0:1 --insecure --allow-users all", "option --allow-users is for loopback and ipc"},
    {LINEAR "--listen tcp://0.0.0.0:1 --insecure --allow-users root", "option --allow-users is for loopback and ipc"},
    {LINEAR "--listen tcp://0.0.0.0:1 --insecure-admin", "give --insecure"},
    {LINEAR "--insecure-admin", "option --insecure-admin belongs to a server that listens beyond this host"},
    {LINEAR "--insecure --insecure-admin", "--allow-users says who may change the job"},
    {LINEAR "--allow-users all --secret-file s", "option --secret-file: with --allow-users all nobody is asked"},
    {LINEAR "--advertise a:1", "is not a host"},
    {LINEAR "--advertise a --listen ipc://@name", "option --advertise: workers reach ipc://@name by its path"},
    {LINEAR "--ports 7701-7703 --listen ipc://@name", "option --ports: ipc://@name has no ports"},
    {LINEAR "--ports 7701", "option --ports: '7701' is no range of ports from 1 to 65535, such as 7701-7708"},
    {LINEAR "--ports 7701-", "'7701-' is no range"},
    {LINEAR "--ports 0-10", "'0-10' is no range"},
    {LINEAR "--ports 7701-65536", "'7701-65536' is no range"},
    {LINEAR "--ports 7701-7703x", "'7701-7703x' is no range"},
    {LINEAR "--ports 7703-7701", "'7703-7701' is an empty range"},
    {LINEAR "--ports 7701-7702 --shards 3", "7701-7702 has 2 ports, and --shards 3 take one each"},
    {LINEAR "--ports 7700-7702 --shards 3", "7700-7702 has 3 ports, with that of --listen, and --shards 3 take"},
    {LINEAR "--data a.svm", "are for --local-workers"},
    {LINEAR "--memory-limit 5", "option --memory-limit is for --local-workers"},
    {LINEAR "--emulate-slot-ms 5", "option --emulate-slot-ms is for --local-workers"},
    {LINEAR "--threads 2", "option --threads is for --local-workers"},
    {LINEAR "--local-workers 1", "needs --data FILE"},
    {LOCAL "--eval-labels b.idx", "option --eval-labels: there is no --eval FILE"},
    {LINEAR "--local-workers 3 --data a.svm --max-workers 2", "3 are started here, and at most 2 taken"},
    {LOCAL "--memory-limit 5", "is for --shuffle block: "},
    {LOCAL "--shuffle block --sparse --memory-limit 5", "is for --shuffle block without --sparse"},
    {LOCAL "--sparse --format csv", "only LIBSVM data can be sparse"},
    {LOCAL "--hash-bits 3 --format idx", "only LIBSVM data can be hashed"},
    {LINEAR "--data-mode local --features 3 --balance speed", "option --balance speed: slots of workers with data"},
    {LINEAR "--data-mode local --features 3 --speculate auto", "option --speculate auto: slots of workers with data"},
    {"--model free --speculate auto", "cannot be computed by others"},
    {LOCAL "--data-mode local --features 3", "the same --data to all"},
};

Test(server_options, that_do_not_go_together)
{
    for (size_t i = 0; i < ARRAY_LEN(REFUSED); i++) {
        dp_error err = {0};
        cr_assert_eq(check(REFUSED[i].text, &err), DP_USAGE, "%s", REFUSED[i].text);
        cr_assert_not_null(strstr(err.text, REFUSED[i].says), "%s: %s", REFUSED[i].text, err.text);
    }
    ASSERT_NO_LEAKS();
}

Test(server_options, that_go_together)
{
    static const char *const TAKEN[] = {
        LINEAR "--listen tcp://localhost:0",
        LINEAR "--listen tcp://[::1]:*",
        LINEAR "--listen tcp://*:7700 --insecure",
        LINEAR "--listen ipc://@name",
        LINEAR "--allow-users root,0,12345",
        LINEAR "--allow-users all",
        LINEAR "--listen ipc://@name --allow-users root",
        LINEAR "--listen tcp://*:7700 --insecure --insecure-admin",
        LINEAR "--seed 18446744073709551615",
        LOCAL "--shuffle block --memory-limit 5 --threads 2",
        LINEAR "--ports 7701-7703 --shards 3",
        LINEAR "--ports 7700-7703 --shards 3",
        LINEAR "--ports 9000-9000",
        LINEAR "--ports 1-65535 --listen tcp://127.0.0.1:0 --shards 64",
        LOCAL "--sparse --format libsvm",
        "--model softmax --sparse --constraint max-norm=1 --l2 0.1@weight",
    };
    for (size_t i = 0; i < ARRAY_LEN(TAKEN); i++) {
        dp_error err = {0};
        cr_assert_eq(check(TAKEN[i], &err), DP_OK, "%s: %s", TAKEN[i], err.text);
    }
    ASSERT_NO_LEAKS();
}
