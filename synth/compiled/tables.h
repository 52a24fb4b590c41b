/* Tables of 65,536 entries are looked up in blocks: all places first, by vectors, and then the entries one by one. */

#ifndef PATINA_TABLES_H
#define PATINA_TABLES_H

#include "common.h"

#define BLOCK 1024

INLINE ptrdiff_t block_of(ptrdiff_t n, ptrdiff_t start) {
    return n - start < BLOCK ? n - start : BLOCK;
}

/* Where in a table of 65,536 entries for 0 to 1 a value stands. */
INLINE int32_t place_of(float x) {
    return (int32_t)between(x * 65535.0f + 0.5f, 0.0f, 65535.0f);
}

/* The same of the values of a block. */
INLINE void places_of(const float *x, ptrdiff_t n, int32_t *places) {
    for (ptrdiff_t i = 0; i < n; i++)
        places[i] = place_of(x[i]);
}

/* The nearest of 0 to 65,535, as OpenCV rounds products to 16 bits. */
INLINE int32_t word_of(float x) {
    return (int32_t)nearest(between(x, 0.0f, 65535.0f));
}

#endif
