/* Similarity of structure in uniform 8×8 windows, as `patina/synth/severity.py` defines it. */

#include "common.h"
#include "sums.h"

#define SIDE 8
#define BEFORE 4
#define BUFFER 8192 /* values that NumPy turns to float64 at a time */

DEFINE_SUM(sum_of_floats, float, double)

/* Place i of n, mirrored at the ends, which are not repeated. */
INLINE ptrdiff_t reflected(ptrdiff_t i, ptrdiff_t n) {
    i = i < 0 ? -i : i;
    return i < n ? i : 2 * (n - 1) - i;
}

/* Adds (sign 1) or takes away (-1) one row of y, x·y and (x - y)². */
INLINE void count_row(const uint8_t *x, const uint8_t *y, ptrdiff_t width, int32_t sign, int32_t *own, int32_t *products,
                      int32_t *squares) {
    for (ptrdiff_t c = 0; c < width; c++) {
        const int32_t a = x[c], b = y[c];
        own[c] += sign * b;
        products[c] += sign * (a * b);
        squares[c] += sign * ((a - b) * (a - b));
    }
}

/* Sums of eight neighbours each, from BEFORE to the left on: `columns` has room for as many on its left and three on its
   right, which are mirrored here. */
INLINE void across(int32_t *columns, int32_t *pairs, int32_t *sums, ptrdiff_t width) {
    for (ptrdiff_t i = 1; i <= BEFORE; i++)
        columns[-i] = columns[i];
    for (ptrdiff_t i = 0; i < SIDE - BEFORE - 1; i++)
        columns[width + i] = columns[width - 2 - i];
    const int32_t *from = columns - BEFORE;
    for (ptrdiff_t c = 0; c < width + 6; c++)
        pairs[c] = from[c] + from[c + 1];
    for (ptrdiff_t c = 0; c < width; c++)
        sums[c] = (pairs[c] + pairs[c + 2]) + (pairs[c + 4] + pairs[c + 6]);
}

/* The sum of the similarity of y to x, whose windows' means are at hand, over all windows. Both have height × width
   levels, eight or more a side; `memory` has room for 7·(width + 16) numbers. */
CLONED void patina_structure(const uint8_t *x, const uint8_t *y, ptrdiff_t height, ptrdiff_t width, const float *means,
                             float c1, float c2, int32_t *memory, double *total) {
    float buffer[BUFFER];
    ptrdiff_t filled = 0;
    int32_t *parts[7];
    for (int i = 0; i < 7; i++)
        parts[i] = memory + i * (width + 2 * SIDE) + SIDE;
    int32_t *own = parts[0], *products = parts[1], *squares = parts[2], *pairs = parts[3];
    for (int i = 0; i < 3; i++)
        for (ptrdiff_t c = 0; c < width; c++)
            parts[i][c] = 0;
    *total = 0;
    for (ptrdiff_t r = -BEFORE - SIDE + 1; r < height - BEFORE; r++) {
        const ptrdiff_t in = reflected(r + SIDE - 1, height) * width;
        count_row(x + in, y + in, width, 1, own, products, squares);
        if (r < -BEFORE)
            continue;
        across(own, pairs, parts[4], width);
        across(products, pairs, parts[5], width);
        across(squares, pairs, parts[6], width);
        const float *mx = means + (r + BEFORE) * width;
        for (ptrdiff_t start = 0; start < width;) {
            const ptrdiff_t end = width - start < BUFFER - filled ? width : start + BUFFER - filled;
            for (ptrdiff_t c = start; c < end; c++) {
                const float my = (float)parts[4][c] * (1.0f / 64);
                const float product = (float)parts[5][c] * (1.0f / 64) * 2.0f;
                const float away = (float)parts[6][c] * (1.0f / 64) + product; /* mxx + myy */
                const float both = mx[c] * my * 2.0f, lights = my * my + mx[c] * mx[c];
                buffer[filled + c - start] =
                    ((both + c1) * ((product - both) + c2)) / ((lights + c1) * ((away - lights) + c2));
            }
            filled += end - start;
            start = end;
            if (filled == BUFFER) {
                *total += sum_of_floats(buffer, BUFFER);
                filled = 0;
            }
        }
        const ptrdiff_t out = reflected(r, height) * width;
        count_row(x + out, y + out, width, -1, own, products, squares);
    }
    if (filled)
        *total += sum_of_floats(buffer, filled);
}
