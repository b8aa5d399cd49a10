/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What proves that a WebSocket's handshake was understood (RFC 6455, 4.2.2): SHA-1 in base64. */
#include <string.h>

#include "internal.h"

enum { BLOCK = 64, DIGEST = 20, LONGEST = 119 };

static uint32_t rotated(uint32_t word, int n)
{
    return word << n | word >> (32 - n);
}

static void add_block(uint32_t state[5], const unsigned char *block)
{
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16
               | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t mixed, constant, next;

        if (i < 20) {
            mixed = (b & c) | (~b & d);
            constant = 0x5A827999;
        } else if (i < 40) {
            mixed = b ^ c ^ d;
            constant = 0x6ED9EBA1;
        } else if (i < 60) {
            mixed = (b & c) | (b & d) | (c & d);
            constant = 0x8F1BBCDC;
        } else {
            mixed = b ^ c ^ d;
            constant = 0xCA62C1D6;
        }
        next = rotated(a, 5) + mixed + e + constant + w[i];
        e = d;
        d = c;
        c = rotated(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* SHA-1 of a text of at most LONGEST bytes. */
static void sha1(const char *text, unsigned char digest[DIGEST])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char blocks[2 * BLOCK] = {0};
    const size_t n = strlen(text);
    const size_t n_blocks = n + 9 > BLOCK ? 2 : 1;

    memcpy(blocks, text, n);
    blocks[n] = 0x80;
    blocks[n_blocks * BLOCK - 2] = (unsigned char)(8 * n >> 8);
    blocks[n_blocks * BLOCK - 1] = (unsigned char)(8 * n);
    for (size_t i = 0; i < n_blocks; i++)
        add_block(state, blocks + i * BLOCK);
    for (int i = 0; i < DIGEST; i++)
        digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void pstn_base64(const unsigned char *bytes, size_t n, char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        const size_t n_here = n - i < 3 ? n - i : 3;
        uint32_t group = (uint32_t)bytes[i] << 16;

        if (n_here > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (n_here > 2)
            group |= bytes[i + 2];
        for (size_t k = 0; k < 4; k++)
            *text++ = k <= n_here ? letters[group >> (18 - 6 * k) & 63] : '=';
    }
    *text = '\0';
}

void pstn_accept(const char *key, char accept[PSTN_ACCEPT_BYTES])
{
    static const char salt[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[DIGEST];
    char text[LONGEST + 1] = {0};
    const size_t n = strlen(key);

    accept[0] = '\0';
    if (n + sizeof salt > sizeof text)
        return;
    memcpy(text, key, n);
    memcpy(text + n, salt, sizeof salt);
    sha1(text, digest);
    pstn_base64(digest, sizeof digest, accept);
}
