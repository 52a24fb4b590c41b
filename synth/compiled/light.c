/* Conversions of whole pictures, as `patina/synth/image.py` defines them. */

#include "common.h"
#include "tables.h"

/* Levels as floats in [0, 1]. */
CLONED void patina_to_float(const uint8_t *levels, ptrdiff_t n, float *out) {
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (float)levels[i] * (float)(1 / 255.0);
}

/* A table of 65,536 floats at n values. */
CLONED void patina_look_up(const float *x, ptrdiff_t n, const float *table, float *out) {
    int32_t places[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        places_of(x + start, count, places);
        for (ptrdiff_t i = 0; i < count; i++)
            out[start + i] = table[places[i]];
    }
}

/* A table of 65,536 bytes at n values. */
CLONED void patina_look_up_bytes(const float *x, ptrdiff_t n, const uint8_t *table, uint8_t *out) {
    int32_t places[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        places_of(x + start, count, places);
        for (ptrdiff_t i = 0; i < count; i++)
            out[start + i] = table[places[i]];
    }
}

/* The same of three planes, whose levels come side by side. */
CLONED void patina_merge_bytes(const float *red, const float *green, const float *blue, ptrdiff_t n, const uint8_t *table,
                               uint8_t *out) {
    int32_t r[BLOCK], g[BLOCK], b[BLOCK];
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        const ptrdiff_t count = block_of(n, start);
        uint8_t *to = out + 3 * start;
        places_of(red + start, count, r);
        places_of(green + start, count, g);
        places_of(blue + start, count, b);
        for (ptrdiff_t i = 0; i < count; i++) {
            to[3 * i] = table[r[i]];
            to[3 * i + 1] = table[g[i]];
            to[3 * i + 2] = table[b[i]];
        }
    }
}

/* A table of 65,536 bytes at three planes of 16 bits, whose levels come side by side. */
CLONED void patina_merge_words(const uint16_t *red, const uint16_t *green, const uint16_t *blue, ptrdiff_t n,
                               const uint8_t *table, uint8_t *out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        out[3 * i] = table[red[i]];
        out[3 * i + 1] = table[green[i]];
        out[3 * i + 2] = table[blue[i]];
    }
}
