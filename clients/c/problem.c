/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reads what matters of a problem document (RFC 9457, JSON) and of the opening of a session.
 *
 * The text comes from the network: nothing is believed of it. Texts are cut to the room there is
 * without splitting a character; control characters become spaces, so that a message stays one
 * line and cannot command a terminal; what is no UTF-8 becomes '?'.
 */
#include <string.h>

#include "internal.h"

enum { DEEPEST = 64, NO_CHARACTER = -1 };

struct scanner {
    const unsigned char *at;
    const unsigned char *end;
};

/* A text that is being written; full once a character did not fit. */
struct target {
    char *text;
    size_t room;
    size_t n_bytes;
    int full;
};

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static int take(struct scanner *s, char wanted)
{
    skip_space(s);
    if (s->at == s->end || *s->at != (unsigned char)wanted)
        return 0;
    s->at++;
    return 1;
}

static void put(struct target *target, long character)
{
    unsigned char bytes[4];
    size_t n = 0;

    if (target == NULL || target->full)
        return;
    if (character < 0 || (character >= 0xD800 && character < 0xE000) || character > 0x10FFFF)
        character = '?';
    else if (character < 0x20 || (character >= 0x7F && character < 0xA0) || character == 0x2028
             || character == 0x2029)
        character = ' ';
    if (character < 0x80) {
        bytes[n++] = (unsigned char)character;
    } else if (character < 0x800) {
        bytes[n++] = (unsigned char)(0xC0 | character >> 6);
        bytes[n++] = (unsigned char)(0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        bytes[n++] = (unsigned char)(0xE0 | character >> 12);
        bytes[n++] = (unsigned char)(0x80 | (character >> 6 & 0x3F));
        bytes[n++] = (unsigned char)(0x80 | (character & 0x3F));
    } else {
        bytes[n++] = (unsigned char)(0xF0 | character >> 18);
        bytes[n++] = (unsigned char)(0x80 | (character >> 12 & 0x3F));
        bytes[n++] = (unsigned char)(0x80 | (character >> 6 & 0x3F));
        bytes[n++] = (unsigned char)(0x80 | (character & 0x3F));
    }
    if (target->n_bytes + n >= target->room) {
        target->full = 1;
        return;
    }
    memcpy(target->text + target->n_bytes, bytes, n);
    target->n_bytes += n;
}

/* The next character of raw UTF-8, which is moved over. */
static long utf8_character(struct scanner *s)
{
    static const long least[4] = {0, 0x80, 0x800, 0x10000};
    unsigned char first = *s->at++;
    int n_more = first < 0x80 ? 0 : first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    long character = n_more == 0 ? first : first & (0x3F >> n_more);

    if ((first >= 0x80 && first < 0xC2) || first > 0xF4)
        return NO_CHARACTER;
    for (int i = 0; i < n_more; i++) {
        if (s->at == s->end || (*s->at & 0xC0) != 0x80)
            return NO_CHARACTER;
        character = character << 6 | (*s->at++ & 0x3F);
    }
    return character < least[n_more] ? NO_CHARACTER : character;
}

/* Four hexadecimal digits; NO_CHARACTER where there are none. */
static long hexadecimal(struct scanner *s)
{
    long value = 0;

    if (s->end - s->at < 4)
        return NO_CHARACTER;
    for (int i = 0; i < 4; i++) {
        unsigned char digit = *s->at++;
        unsigned char letter = digit | 0x20;

        if (digit >= '0' && digit <= '9')
            value = value << 4 | (digit - '0');
        else if (letter >= 'a' && letter <= 'f')
            value = value << 4 | (letter - 'a' + 10);
        else
            return NO_CHARACTER;
    }
    return value;
}

/* What stands behind \u, two surrogates counting as one character; 0 = malformed. */
static int unicode_escape(struct scanner *s, struct target *target)
{
    long high = hexadecimal(s), low;
    struct scanner ahead = *s;

    if (high == NO_CHARACTER)
        return 0;
    if (high >= 0xD800 && high < 0xDC00 && ahead.end - ahead.at >= 6 && ahead.at[0] == '\\'
        && ahead.at[1] == 'u') {
        ahead.at += 2;
        low = hexadecimal(&ahead);
        if (low >= 0xDC00 && low < 0xE000) {
            *s = ahead;
            high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    put(target, high);
    return 1;
}

/* A string, written into a target or moved over; 0 = malformed. */
static int string(struct scanner *s, struct target *target)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/     ";

    if (!take(s, '"'))
        return 0;
    while (s->at < s->end) {
        if (*s->at == '"') {
            s->at++;
            return 1;
        }
        if (*s->at != '\\') {
            put(target, utf8_character(s));
            continue;
        }
        if (++s->at == s->end)
            return 0;
        char escape = (char)*s->at++;
        const char *found = escape == '\0' ? NULL : strchr(escapes, escape);
        if (found != NULL)
            put(target, meanings[found - escapes]);
        else if (escape != 'u' || !unicode_escape(s, target))
            return 0;
    }
    return 0;
}

/* A number, true, false or null, of which only the length matters. */
static int literal(struct scanner *s, const char **text, size_t *length)
{
    skip_space(s);
    *text = (const char *)s->at;
    while (s->at < s->end && *s->at != '\0' && strchr("+-.0123456789aeEflnrstu", *s->at) != NULL)
        s->at++;
    *length = (size_t)((const char *)s->at - *text);
    return *length > 0;
}

/* Move over any value; 0 = malformed or nested too deeply. */
static int skip(struct scanner *s, int depth)
{
    const char *value;
    size_t length;
    int is_object;

    skip_space(s);
    if (s->at == s->end || depth > DEEPEST)
        return 0;
    if (*s->at == '"')
        return string(s, NULL);
    is_object = *s->at == '{';
    if (!is_object && *s->at != '[')
        return literal(s, &value, &length);
    s->at++;
    if (take(s, is_object ? '}' : ']'))
        return 1;
    do {
        if (is_object && (!string(s, NULL) || !take(s, ':')))
            return 0;
        if (!skip(s, depth + 1))
            return 0;
    } while (take(s, ','));
    return take(s, is_object ? '}' : ']');
}

/* End a text, with dots where it was cut. */
static void finish(struct target *target)
{
    if (target->full && target->room > 4) {
        size_t at = target->n_bytes < target->room - 4 ? target->n_bytes : target->room - 4;

        while (at > 0 && at < target->n_bytes && ((unsigned char)target->text[at] & 0xC0) == 0x80)
            at--;
        memcpy(target->text + at, "...", 3);
        target->n_bytes = at + 3;
    }
    target->text[target->n_bytes] = '\0';
}

/* Reads the value of one member of an object, or moves over it; 0 = malformed. */
typedef int (*reader)(struct scanner *s, const char *name, void *context);

static int object(struct scanner *s, reader read, void *context)
{
    char name[16];

    if (!take(s, '{'))
        return 0;
    if (take(s, '}'))
        return 1;
    do {
        struct target key = {name, sizeof name, 0, 0};

        if (!string(s, &key) || !take(s, ':'))
            return 0;
        finish(&key);
        skip_space(s);
        if (!read(s, name, context))
            return 0;
    } while (take(s, ','));
    return take(s, '}');
}

static int starts(const struct scanner *s, char wanted)
{
    return s->at < s->end && *s->at == (unsigned char)wanted;
}

static int text(struct scanner *s, char *into, size_t room)
{
    struct target target = {into, room, 0, 0};

    if (!string(s, &target))
        return 0;
    finish(&target);
    return 1;
}

static int problem_member(struct scanner *s, const char *name, void *context)
{
    struct pstn_problem *problem = context;
    const char *value;
    size_t length;

    if (strcmp(name, "code") == 0 && starts(s, '"'))
        return text(s, problem->code, sizeof problem->code);
    if (strcmp(name, "detail") == 0 && starts(s, '"'))
        return text(s, problem->detail, sizeof problem->detail);
    if (strcmp(name, "retryable") == 0 && (starts(s, 't') || starts(s, 'f'))) {
        problem->retryable = starts(s, 't');
        return literal(s, &value, &length);
    }
    if (strcmp(name, "status") == 0 && s->at < s->end && *s->at >= '1' && *s->at <= '9') {
        if (!literal(s, &value, &length))
            return 0;
        problem->status = 0;
        for (size_t i = 0; i < length && length == 3; i++)
            if (value[i] >= '0' && value[i] <= '9')
                problem->status = 10 * problem->status + (value[i] - '0');
        return 1;
    }
    return skip(s, 1);
}

int pstn_problem_read(const void *bytes, size_t n_bytes, struct pstn_problem *problem)
{
    struct scanner s = {bytes, bytes};

    problem->code[0] = problem->detail[0] = '\0';
    problem->status = 0;
    problem->retryable = -1;
    if (n_bytes == 0)
        return 0;
    s.end += n_bytes;
    return object(&s, problem_member, problem) && problem->code[0] != '\0';
}

static int model_member(struct scanner *s, const char *name, void *context)
{
    struct pstn_opening *opening = context;

    if (strcmp(name, "name") == 0 && starts(s, '"'))
        return text(s, opening->model, sizeof opening->model);
    if (strcmp(name, "digest") == 0 && starts(s, '"'))
        return text(s, opening->digest, sizeof opening->digest);
    return skip(s, 2);
}

static int opening_member(struct scanner *s, const char *name, void *context)
{
    if (strcmp(name, "model") == 0 && starts(s, '{'))
        return object(s, model_member, context);
    return skip(s, 1);
}

int pstn_opening_read(const void *bytes, size_t n_bytes, struct pstn_opening *opening)
{
    struct scanner s = {bytes, bytes};

    opening->model[0] = opening->digest[0] = '\0';
    if (n_bytes == 0)
        return 0;
    s.end += n_bytes;
    return object(&s, opening_member, opening) && opening->model[0] != '\0'
           && opening->digest[0] != '\0';
}
