/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What comes from the network, and what callers get wrong: run under the sanitizers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int n_failures = 0;

static void expect(int holds, const char *what, int line)
{
    if (holds)
        return;
    fprintf(stderr, "hostile.c:%d: %s\n", line, what);
    n_failures++;
}

#define EXPECT(condition) expect((condition) != 0, #condition, __LINE__)

/* Read a copy of exactly so many bytes, so that the sanitizer sees a step beyond them. */
static int read_problem(const char *text, size_t n, struct pstn_problem *problem)
{
    char *copy = malloc(n > 0 ? n : 1);
    int found;

    memcpy(copy, text, n);
    found = pstn_problem_read(copy, n, problem);
    free(copy);
    return found;
}

static int said(const char *text, const char *code, const char *detail)
{
    struct pstn_problem problem;

    return read_problem(text, strlen(text), &problem) && strcmp(problem.code, code) == 0
           && strcmp(problem.detail, detail) == 0;
}

static int refused(const char *text)
{
    struct pstn_problem problem;

    return !read_problem(text, strlen(text), &problem);
}

static void test_problems(void)
{
    struct pstn_problem problem;
    char long_text[4096], deep[4096];

    EXPECT(said("{\"code\":\"a\",\"detail\":\"b\"}", "a", "b"));
    EXPECT(said(" { \"x\" : [1, {\"code\": \"no\"}, -1.5e3, null], \"code\" :\"a\" } ", "a", ""));
    EXPECT(said("{\"code\":\"a\",\"detail\":\"l\\n\\t\\u001b[31m\\u0007\\u0085e\"}", "a",
                "l   [31m  e"));
    EXPECT(said("{\"code\":\"a\",\"detail\":\"\\u00c5 \\ud83d\\ude00 \\\"\\\\\\/\"}", "a",
                "\xC3\x85 \xF0\x9F\x98\x80 \"\\/"));
    EXPECT(said("{\"code\":\"a\",\"detail\":\"\\ud83d \\ude00 \\ud83d\\u0041\"}", "a", "? ? ?A"));
    EXPECT(said("{\"code\":\"a\",\"detail\":\"\xC3\xA5 \xFF \xC0\x80 \xED\xA0\x80 \xF0\x9F\"}", "a",
                "\xC3\xA5 ? ?? ? ?"));
    EXPECT(said("{\"code\":1,\"code\":\"a\",\"detail\":null}", "a", ""));
    EXPECT(said("{\"codes and more than fits\":\"x\",\"code\":\"a\"}", "a", ""));
    EXPECT(refused(""));
    EXPECT(refused("{"));
    EXPECT(refused("{}"));
    EXPECT(refused("[]"));
    EXPECT(refused("<html>"));
    EXPECT(refused("{\"code\":\"a\""));
    EXPECT(refused("{\"code\":\"a"));
    EXPECT(refused("{\"code\":\"a\\"));
    EXPECT(refused("{\"code\":\"a\\u12"));
    EXPECT(refused("{\"code\":\"a\\u12zz\"}"));
    EXPECT(refused("{\"code\":\"\\x\"}"));
    EXPECT(refused("{\"code\" \"a\"}"));
    EXPECT(refused("{\"detail\":\"a\"}"));
    EXPECT(read_problem("{\"code\":\"a\",\"retryable\":false}", 30, &problem)
           && problem.retryable == 0);
    EXPECT(read_problem("{\"code\":\"a\",\"retryable\":true}", 29, &problem)
           && problem.retryable == 1);
    EXPECT(read_problem("{\"code\":\"a\",\"retryable\":3}", 26, &problem)
           && problem.retryable == -1);

    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"x\":", 5);
    EXPECT(!read_problem(deep, sizeof deep, &problem));

    /* Two bytes to a character: the cut must fall between two of them. */
    strcpy(long_text, "{\"code\":\"a\",\"detail\":\"");
    for (int i = 0; i < 1000; i++)
        strcat(long_text, "\xC3\xA5");
    strcat(long_text, "\"}");
    EXPECT(read_problem(long_text, strlen(long_text), &problem));
    EXPECT(strlen(problem.detail) < sizeof problem.detail);
    EXPECT(strcmp(problem.detail + strlen(problem.detail) - 5, "\xC3\xA5...") == 0);
}

static void test_openings(void)
{
    static const char sound[] =
        "{\"layout\":1,\"model\":{\"n\":[1],\"name\":\"m\",\"digest\":\"sha256:0\"},\"x\":{}}";
    static const char bare[] = "{\"name\":\"m\",\"digest\":\"d\"}";
    struct pstn_opening opening;
    char accept[PSTN_ACCEPT_BYTES];

    EXPECT(pstn_opening_read(sound, sizeof sound - 1, &opening));
    EXPECT(strcmp(opening.model, "m") == 0 && strcmp(opening.digest, "sha256:0") == 0);
    EXPECT(!pstn_opening_read(bare, sizeof bare - 1, &opening));
    EXPECT(!pstn_opening_read(NULL, 0, &opening));
    for (size_t n = 0; n < sizeof sound - 1; n++)
        EXPECT(!pstn_opening_read(sound, n, &opening));
    pstn_accept("dGhlIHNhbXBsZSBub25jZQ==", accept); /* the example of RFC 6455 */
    EXPECT(strcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0);
}

static unsigned next(void)
{
    static unsigned state = 12345;

    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* A text is changed at random and cut anywhere; whatever is found is one line of text. */
static void test_mutations(void)
{
    static const char sound[] =
        "{\"type\":\"urn:x\",\"status\":422,\"detail\":\"knows [1, 6], \\u00e5\\ud83d\\ude00 \xC3\xA5\","
        "\"code\":\"unsupported-element\",\"errors\":[{\"pointer\":\"/a\"}],\"retryable\":false}";
    static const char likely[] = "{}[]\",:\\u0d8c \n\xC3\xF0";
    struct pstn_problem problem;
    char text[sizeof sound];

    for (int turn = 0; turn < 200000; turn++) {
        memcpy(text, sound, sizeof sound);
        for (unsigned i = next() % 6; i > 0; i--)
            text[next() % (sizeof sound - 1)] =
                next() % 2 ? likely[next() % (sizeof likely - 1)] : (char)next();
        if (read_problem(text, next() % sizeof sound, &problem)) {
            EXPECT(strlen(problem.code) < sizeof problem.code);
            EXPECT(strpbrk(problem.code, "\n\r\t\x1B") == NULL);
            EXPECT(strpbrk(problem.detail, "\n\r\t\x1B") == NULL);
        }
    }
}

static void write_u4(unsigned char *frame, size_t offset, uint32_t value)
{
    memcpy(frame + offset, &value, sizeof value);
}

/* Replies that are cut, or changed at random, about a periodic structure of three atoms. */
static void test_replies(void)
{
    static const int numbers[3] = {8, 1, 1}, pbc[3] = {1, 1, 1};
    static const char words[] = "{\"code\":\"non-finite-result\",\"detail\":\"the energy is NaN\"}";
    double forces[9], spread[3];
    unsigned char frame[512];
    posterion_result result;
    posterion *handle = NULL;
    size_t n;

    EXPECT(posterion_open(&handle, NULL, 3, numbers, pbc, NULL) == POSTERION_OK);
    n = pstn_reply_bytes(handle);
    EXPECT(n == 64 + 64 + 8 * (9 + 9 + 6) && n + sizeof words < sizeof frame);
    for (int turn = 0; turn < 100000; turn++) {
        size_t length = n;

        memset(frame, 0, sizeof frame);
        memcpy(frame, "PSTN\1\0\2\0", 8);
        write_u4(frame, 16, 1);
        write_u4(frame, 20, 3);
        write_u4(frame, 24, 15);
        if (turn % 4 == 1) {
            write_u4(frame, 64, 2);
            write_u4(frame, 64 + 56, turn % 8 == 1 ? sizeof words - 1 : next());
            memcpy(frame + n, words, sizeof words - 1);
            length = n + next() % sizeof words;
        } else if (turn % 4 == 2) {
            length = next() % n;
        } else if (turn % 4 == 3) {
            for (unsigned i = 1 + next() % 8; i > 0; i--)
                frame[next() % n] = (unsigned char)next();
        }
        if (turn % 400 == 0) { /* sound, but for one number */
            const double bad = turn % 800 == 0 ? NAN : INFINITY;

            memcpy(frame + (turn % 1600 < 800 ? 80 : n - 8), &bad, sizeof bad);
        }
        free(handle->answer.body);
        handle->answer.body = malloc(length > 0 ? length : 1);
        memcpy(handle->answer.body, frame, length);
        handle->answer.n_bytes = length;
        if (pstn_frame_read(handle, forces, spread, &result) == POSTERION_OK) {
            EXPECT((turn % 4 == 0 && turn % 400 != 0) || turn % 4 == 3);
            for (int i = 0; i < 9; i++)
                EXPECT(isfinite(forces[i]) && isfinite(result.stress[i]));
            EXPECT(isfinite(result.energy) && isfinite(result.force_max));
        } else {
            EXPECT((turn % 4 != 0 || turn % 400 == 0) && handle->message[0] != '\0');
            if (turn % 400 == 0)
                EXPECT(strncmp(handle->message, "non-finite-result: ", 19) == 0);
        }
    }
    posterion_close(handle);
}

static posterion_status opened(const char *url, int n, const int *numbers, const int *pbc,
                               const posterion_options *options, const char *message)
{
    posterion *handle = NULL;
    posterion_status status = posterion_open(&handle, url, n, numbers, pbc, options);

    if (strstr(posterion_message(handle), message) == NULL) {
        fprintf(stderr, "expected %s, got %s\n", message, posterion_message(handle));
        n_failures++;
    }
    posterion_close(handle);
    return status;
}

static void test_arguments(void)
{
    static const int water[3] = {8, 1, 1}, wrong[1] = {119}, slab[3] = {1, 1, 0};
    const double positions[9] = {0.0, 0.0, 0.0, 0.0, NAN}, far[9] = {0.0};
    double forces[9];
    posterion_options options;
    posterion_result result;
    posterion *handle = NULL;

    posterion_options_init(&options);
    EXPECT(opened("ftp://x", 3, water, NULL, NULL, "must look like") != POSTERION_OK);
    EXPECT(opened("http://", 3, water, NULL, NULL, "must look like") != POSTERION_OK);
    EXPECT(opened("http://a b", 3, water, NULL, NULL, "must look like") != POSTERION_OK);
    EXPECT(opened("http://a\r\nX: y", 3, water, NULL, NULL, "must look like") != POSTERION_OK);
    EXPECT(opened("http://a?x", 3, water, NULL, NULL, "must look like") != POSTERION_OK);
    EXPECT(opened("http://a/b//", 3, water, NULL, NULL, "") == POSTERION_OK);
    EXPECT(opened("http://a", 0, water, NULL, NULL, "there must be") != POSTERION_OK);
    EXPECT(opened("http://a", 1, NULL, NULL, NULL, "there must be") != POSTERION_OK);
    EXPECT(opened("http://a", 1, wrong, NULL, NULL, "atomic number 119") != POSTERION_OK);
    options.stress = 1;
    EXPECT(opened("http://a", 3, water, slab, &options, "stress needs") != POSTERION_OK);
    posterion_options_init(&options);
    options.version = "stable";
    EXPECT(opened("http://a", 3, water, NULL, &options, "a version is of a model") != POSTERION_OK);
    options.model = "m\n";
    EXPECT(opened("http://a", 3, water, NULL, &options, "model must be") != POSTERION_OK);
    posterion_options_init(&options);
    options.timeout_s = NAN;
    EXPECT(opened("http://a", 3, water, NULL, &options, "time limits") != POSTERION_OK);
    posterion_options_init(&options);
    options.n_samples = 1;
    EXPECT(opened("http://a", 3, water, NULL, &options, "n_samples") != POSTERION_OK);

    EXPECT(posterion_evaluate(NULL, 3, far, NULL, forces, NULL, &result) != POSTERION_OK);
    EXPECT(posterion_open(&handle, "ftp://x", 3, water, NULL, NULL) != POSTERION_OK);
    EXPECT(posterion_evaluate(handle, 3, far, NULL, forces, NULL, &result) != POSTERION_OK);
    posterion_close(handle);
    EXPECT(posterion_open(&handle, "http://127.0.0.1:9", 3, water, slab, NULL) == POSTERION_OK);
    EXPECT(posterion_evaluate(handle, 2, far, NULL, forces, NULL, &result) != POSTERION_OK);
    EXPECT(strstr(posterion_message(handle), "changed from 3 to 2") != NULL);
    EXPECT(posterion_evaluate(handle, 3, positions, far, forces, NULL, &result) != POSTERION_OK);
    EXPECT(strstr(posterion_message(handle), "atom 1 is not finite") != NULL);
    EXPECT(posterion_evaluate(handle, 3, far, NULL, forces, NULL, &result) != POSTERION_OK);
    EXPECT(strstr(posterion_message(handle), "needs a cell") != NULL);
    posterion_close(handle);
    posterion_close(NULL);
}

static void test_names(void)
{
    EXPECT(posterion_atomic_number("H") == 1 && posterion_atomic_number("He") == 2);
    EXPECT(posterion_atomic_number("Si") == 14 && posterion_atomic_number("Og") == 118);
    EXPECT(posterion_atomic_number("Xx") == 0 && posterion_atomic_number("") == 0);
    EXPECT(posterion_atomic_number("e") == 0 && posterion_atomic_number(" ") == 0);
    EXPECT(posterion_atomic_number("C ") == 0 && posterion_atomic_number(NULL) == 0);
    EXPECT(posterion_atomic_number("Hel") == 0 && posterion_atomic_number(" H") == 0);
    EXPECT(strcmp(posterion_flag_name(POSTERION_COMPOSITION_UNSEEN), "composition-unseen") == 0);
    EXPECT(posterion_flag_name(3) == NULL && posterion_flag_name(64) == NULL);
    EXPECT(strcmp(posterion_status_name(POSTERION_UNAVAILABLE), "unavailable") == 0);
    EXPECT(strcmp(posterion_status_name((posterion_status)11), "unknown-status") == 0);
}

int main(void)
{
    test_problems();
    test_openings();
    test_mutations();
    test_replies();
    test_arguments();
    test_names();
    if (n_failures == 0)
        printf("hostile: nothing found\n");
    return n_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
