/* Sums in the order in which NumPy adds up. */

#ifndef PATINA_SUMS_H
#define PATINA_SUMS_H

#include "common.h"

/* The sum of n doubles as NumPy makes it: eight sums side by side in runs of 128 at the most. */
static double sum_of(const double *x, ptrdiff_t n) {
    if (n < 8) {
        double sum = 0.0;
        for (ptrdiff_t i = 0; i < n; i++)
            sum += x[i];
        return sum;
    }
    if (n <= 128) {
        double r[8];
        ptrdiff_t i;
        for (int j = 0; j < 8; j++)
            r[j] = x[j];
        for (i = 8; i < n - n % 8; i += 8)
            for (int j = 0; j < 8; j++)
                r[j] += x[i + j];
        double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        for (; i < n; i++)
            sum += x[i];
        return sum;
    }
    const ptrdiff_t half = n / 2 - n / 2 % 8;
    return sum_of(x, half) + sum_of(x + half, n - half);
}

#endif
