/* The tables of JSON members: a live document has no other members than its table, and each member of a table is in
 * some document. The harness looks at the documents of all other tests. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/options/fields.h"
#include "tests/integration/support/fields.h"
#include "tests/integration/support/harness.h"
#include "worker/ctl/fields.h"
#include "worker/run/fields.h"

TestSuite(fields, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { RUN_MS = 60000, TRIES = 600 };

/* ---- the check itself ---- */

static const struct field MEMBERS[] = {
    {"top", "n", FIELD_INTEGER, NULL, ""},
    {"top", "list", FIELD_LIST | FIELD_OBJECT, NULL, ""},
    {"top", "map", FIELD_MAP | FIELD_NUMBER | FIELD_MAYBE, NULL, ""},
    {"top list[]", "text", FIELD_TEXT | FIELD_NULL, NULL, ""},
    {"list[]", "inner", FIELD_OBJECT | FIELD_MAYBE, NULL, ""},
    {"list[].inner", "x", FIELD_NUMBER, NULL, ""},
};
static const struct field_table TABLE = {"top", "", MEMBERS, ARRAY_LEN(MEMBERS)};

Test(fields, a_document_that_differs_is_found)
{
    static const struct {
        const char *document, *problem;
    } CASES[] = {
        {"{'n':1,'list':[],'text':null}", NULL},
        {"{'n':1,'list':[{'text':'a','inner':{'x':1}}],'text':'','map':{'any':1.5}}", NULL},
        {"{'n':1,'list':[],'text':null,'more':1}", "top: more: not in the table"},
        {"{'n':1,'list':[]}", "top: text: is missing"},
        {"{'n':1.5,'list':[],'text':null}", "top: n: is not of the type 'integer'"},
        {"{'n':null,'list':[],'text':null}", "top: n: is not of the type 'integer'"},
        {"{'n':1,'list':[{'text':'a','more':1}],'text':null}", "list[]: more: not in the table"},
        {"{'n':1,'list':[{}],'text':null}", "list[]: text: is missing"},
        {"{'n':1,'list':[{'text':'a','inner':{}}],'text':null}", "list[].inner: x: is missing"},
        {"{'n':1,'list':[3],'text':null}", "top: list: is not of the type 'list of objects'"},
        {"{'n':1,'list':{},'text':null}", "top: list: is no list or object"},
        {"{'n':1,'list':[],'text':null,'map':{'any':'a'}}", "top: map: is not of the type 'object of numbers'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[256], buf[FIELDS_TEXT];
        snprintf(text, sizeof text, "%s", CASES[i].document);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        json_t *document = json_loads(text, 0, NULL);
        cr_assert(document, "%s", text);
        const char *problem = fields_problem(&TABLE, "top", document, NULL, buf);
        cr_expect_str_eq(problem ? problem : "", CASES[i].problem ? CASES[i].problem : "", "%s", text);
        json_decref(document);
    }
}

/* Whether two lists of places have one in common. */
static bool meet(const char *places, const char *others)
{
    char text[128];
    snprintf(text, sizeof text, "%s", places);
    for (char *rest = text, *place; (place = strsep(&rest, " "));)
        for (const char *at = others; (at = strstr(at, place)); at++)
            if ((at == others || at[-1] == ' ') && strchr(" ", at[strlen(place)]))
                return true;
    return false;
}

static void assert_sound(const struct field_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        for (size_t k = 0; k < i; k++) {
            const struct field *one = &table->list[i], *other = &table->list[k];
            cr_expect(!one->name || !other->name || strcmp(one->name, other->name) != 0 ||
                          !meet(one->places, other->places),
                      "%s: '%s' is twice in '%s'", table->topic, one->name, one->places);
        }
}

Test(fields, no_member_is_twice_in_a_place)
{
    for (size_t i = 0; i < SERVER_PAGES; i++)
        assert_sound(&server_pages[i]);
    assert_sound(&worker_pages[0]);
    assert_sound(&ctl_pages[0]);
}

/* ---- the status document ---- */

static struct fields_seen seen;

/* Whether the status has `text`; its members are noted. */
static bool look(const char *endpoint, const char *text)
{
    char buf[FIELDS_TEXT];
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *problem = fields_problem_output(&(struct fields_source){"dp-ctl", NULL}, r.out, &seen, buf);
    cr_assert(!problem, "%s", problem);
    return strstr(r.out, text);
}

static void look_until(const char *endpoint, const char *text)
{
    for (int i = 0; i < TRIES; i++)
        if (look(endpoint, text))
            return;
    cr_assert_fail("no status document has %s", text);
}

/* A mode that begins with a later step, until a document is in between. */
static void look_at_the_next_mode(const char *endpoint)
{
    for (int i = 0; i < TRIES; i++) {
        struct run_result r =
            RUN(RUN_MS, "dp-ctl", "--server", endpoint, "set", "consistency", i % 2 ? "bsp" : "ssp:1");
        cr_assert_eq(r.status, 0, "%s", r.err);
        if (look(endpoint, "\"consistency_next\":{"))
            return;
    }
    cr_assert_fail("no status document has a mode to come");
}

/* A job that goes on until it is stopped, of slots that take long. */
#define SLOW(data)                                                                                              \
    "--model", "logistic", "--local-workers", "1", "--data", data, "--batch", "20", "--slots", "2", "--epochs", \
        "1000000", "--emulate-slot-ms", "100", "--json"

Test(fields, each_member_of_the_status_appears)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *data = temp_separable();
    (void)SERVER(endpoint, SLOW(data));
    look_until(endpoint, "\"state\":\"training\"");
    look_at_the_next_mode(endpoint);
    struct process *server =
        SERVER(endpoint, SLOW(data), "--l1", "0.001", "--constraint", "l2-ball=1", "--constraint-method", "augmented",
               "--export", temp_path("m.st"), "--checkpoint-dir", temp_path("ck"));
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    look_until(endpoint, "\"last_heard_ms\"");
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
    fields_assert_all(&server_pages[0], &seen, NULL);
}

Test(fields, a_server_without_workers_has_the_same_members)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[128];
    (void)SERVER(endpoint, "--model", "logistic");
    cr_assert(look(endpoint, "\"job\":null"));
}

/* ---- events ---- */

static void note(const char *program, const char *command, struct run_result r)
{
    char buf[FIELDS_TEXT];
    const char *problem = fields_problem_output(&(struct fields_source){program, command}, r.out, &seen, buf);
    cr_assert(!problem, "%s", problem);
}

/* Columns of other scales, and no header: a warning and a note. */
static const char *people(void)
{
    static char text[8192];
    size_t at = 0;
    for (int i = 0; i < 100; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d,%d.5,%d.5\n", i % 5 < 3, 10000 + i * 7919 % 990000,
                               18 + i * 31 % 62);
    return temp_text("people.csv", text);
}

#define SERVER_RUN(...) RUN(RUN_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--json", __VA_ARGS__)
#define WORKER_RUN(...) RUN(RUN_MS, "dp-worker", __VA_ARGS__, "--json")
#define LOCAL "--local-workers", "1", "--exit-when-done", "--epochs", "2"

/* test_output.c has the event of lines that were left out. */
Test(fields, each_member_of_the_servers_events_appears)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    note("dp-server", NULL,
         SERVER_RUN(LOCAL, "--model", "logistic", "--data", people(), "--l1", "0.1", "--constraint", "nonneg",
                    "--checkpoint-dir", temp_path("ck")));
    note("dp-server", NULL, SERVER_RUN("--bogus"));
    fields_assert_all(&server_pages[1], &seen, "left_out");
}

Test(fields, each_member_of_the_objects_of_a_worker_appears)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = people(), *linear = temp_path("linear.st"), *model = temp_path("m.st");
    (void)SERVER(endpoint, "--model", "logistic", "--epochs", "2");
    note("dp-worker", NULL, WORKER_RUN("--server", endpoint, "--data", data));
    note("dp-worker", NULL, WORKER_RUN("--bogus"));
    (void)SERVER_RUN(LOCAL, "--model", "logistic", "--data", data, "--label-column", "0", "--export", model);
    (void)SERVER_RUN(LOCAL, "--model", "linear", "--data", temp_separable(), "--export", linear);
    note("dp-worker", "eval",
         WORKER_RUN("eval", "--model", model, "--data", data, "--l1", "1", "--constraint", "nonneg"));
    note("dp-worker", "eval", WORKER_RUN("eval", "--model", linear, "--data", temp_separable()));
    note("dp-worker", "predict", WORKER_RUN("predict", "--model", model, "--data", data, "--scores"));
    note("dp-worker", "predict", WORKER_RUN("predict", "--model", linear, "--data", temp_separable()));
    note("dp-worker", "predict",
         WORKER_RUN("predict", "--model", model, "--data", data, "--output", temp_path("rows")));
    const char *checkpoints = temp_path("ck");
    (void)SERVER_RUN(LOCAL, "--model", "logistic", "--data", data, "--checkpoint-dir", checkpoints);
    note("dp-worker", "inspect", WORKER_RUN("inspect", "--model", checkpoints));
    note("dp-worker", "inspect", WORKER_RUN("inspect", "--model", linear));
    fields_assert_all(&worker_pages[0], &seen, "left_out");
}

Test(fields, each_member_of_the_objects_of_dp_ctl_appears)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, SLOW(temp_separable()), "--checkpoint-dir", temp_path("ck"));
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    note("dp-ctl", NULL, RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--json", "checkpoint"));
    note("dp-ctl", NULL, RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--json", "set", "lr", "0.5"));
    note("dp-ctl", NULL, RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--json", "export", temp_path("m.st")));
    fields_assert_all(&ctl_pages[0], &seen, NULL);
}
