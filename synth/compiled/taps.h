/* The order in which `patina/synth/convolution.py` has OpenCV add up a kernel's taps. */

#ifndef PATINA_TAPS_H
#define PATINA_TAPS_H

#include "common.h"

/* What is left over when a weight's own `bits` bits are to do: its lowest four, if it has more than `bits`. */
INLINE int32_t over(int32_t weight, int32_t bits) {
    return weight >= (1 << bits) ? weight & 15 : 0;
}

/* Taps of a kernel in the order in which they are added up, block after block, from `n` that stand row by row, each row
   from left to right. What is left over of weights follows as taps of its own. `places` are the y, x of each and
   `ordered` the weights, 2n at the most; `ends`, as many, of the blocks; `counts`: of taps, and of blocks. */
static void order_taps(const int32_t *y, const int32_t *x, const int32_t *weights, ptrdiff_t n, int32_t bits,
                       int32_t block, int32_t *places, float *ordered, int32_t *ends, int32_t *counts) {
    int32_t taps = 0, blocks = 0;
    for (int rest = 0; rest < 2; rest++) {
        ptrdiff_t first = 0, end;
        for (; first < n; first = end) {
            if (rest && !over(weights[first], bits)) {
                end = first + 1;
                continue;
            }
            for (end = first; end < n && y[end] < y[first] + block; end++) { /* a band of rows */
            }
            for (int32_t from = 0, left = 0; left != INT32_MAX; from = left + block) { /* its blocks, left to right */
                left = INT32_MAX;
                for (ptrdiff_t i = first; i < end; i++)
                    if (x[i] >= from && x[i] < left && (!rest || over(weights[i], bits)))
                        left = x[i];
                for (ptrdiff_t i = first; i < end && left != INT32_MAX; i++) {
                    const int32_t low = over(weights[i], bits);
                    if (x[i] < left || x[i] - left >= block || (rest && !low))
                        continue;
                    places[2 * taps] = y[i];
                    places[2 * taps + 1] = x[i];
                    ordered[taps++] = (float)(rest ? low : weights[i] - low);
                }
                if (left == INT32_MAX)
                    break;
                ends[blocks++] = taps;
            }
        }
    }
    counts[0] = taps;
    counts[1] = blocks;
}

#endif
