/* Sums as NumPy makes them: eight side by side in runs of 128 at the most, and the runs in halves. */

#ifndef PATINA_SUMS_H
#define PATINA_SUMS_H

#include "common.h"

/* `name`, the sum of n values of `type`, added up as `sum`. */
#define DEFINE_SUM(name, type, sum)                                                                                    \
    static sum name(const type *x, ptrdiff_t n) {                                                                      \
        if (n < 8) {                                                                                                   \
            sum few = 0;                                                                                               \
            for (ptrdiff_t i = 0; i < n; i++)                                                                          \
                few += (sum)x[i];                                                                                      \
            return few;                                                                                                \
        }                                                                                                              \
        if (n <= 128) {                                                                                                \
            sum r[8];                                                                                                  \
            ptrdiff_t i;                                                                                               \
            for (int j = 0; j < 8; j++)                                                                                \
                r[j] = (sum)x[j];                                                                                      \
            for (i = 8; i < n - n % 8; i += 8)                                                                         \
                for (int j = 0; j < 8; j++)                                                                            \
                    r[j] += (sum)x[i + j];                                                                             \
            sum all = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));                               \
            for (; i < n; i++)                                                                                         \
                all += (sum)x[i];                                                                                      \
            return all;                                                                                                \
        }                                                                                                              \
        const ptrdiff_t half = n / 2 - n / 2 % 8;                                                                      \
        return name(x, half) + name(x + half, n - half);                                                               \
    }

#endif
