/* The shake of a camera and the kernels that it leaves, as `patina/synth/degradations/motion_blurry.py` defines them. */

#include <math.h>

#include "sums.h"
#include "taps.h"

/* A random movement from (0, 0), steps + 1 positions x, y, that begins towards `heading`, x and y of length 1. In each
   step `shocks` and a pull back to the start, `back`, disturb the speed, and where `jerks` is not 0 a sudden turn with
   these cosines and sines does; then it is made 1 again. */
CLONED void patina_shaken(const double *heading, const double *shocks, double back, const uint8_t *jerks,
                          const double *cosines, const double *sines, ptrdiff_t steps, double *path) {
    const double first_x = heading[0], first_y = heading[1];
    double x = 0.0, y = 0.0, to_x = first_x, to_y = first_y;
    path[0] = path[1] = 0.0;
    for (ptrdiff_t i = 0; i < steps; i++) {
        to_x += shocks[2 * i] - back * x;
        to_y += shocks[2 * i + 1] - back * y;
        if (jerks[i]) {
            to_x -= 2.0 * (first_x * cosines[i] - first_y * sines[i]);
            to_y -= 2.0 * (first_x * sines[i] + first_y * cosines[i]);
        }
        const double speed = sqrt(to_x * to_x + to_y * to_y);
        to_x /= speed;
        to_y /= speed;
        x += to_x / (double)steps;
        y += to_y / (double)steps;
        path[2 * i + 2] = x;
        path[2 * i + 3] = y;
    }
}

/* Where a point x, y px from the frame's centre was at step i. */
INLINE double right_of(const double *right, const double *roll, const double *growth, ptrdiff_t i, double x, double y) {
    return (right[i] - roll[i] * y) + growth[i] * x;
}

INLINE double down_of(const double *down, const double *roll, const double *growth, ptrdiff_t i, double x, double y) {
    return (down[i] + growth[i] * y) + roll[i] * x;
}

/* How far in x or y any of the points at `count` places xs of a line y goes at most, in one number. */
CLONED void patina_farthest(const double *right, const double *down, const double *roll, const double *growth,
                            ptrdiff_t n, const double *xs, ptrdiff_t count, double y, double *farthest) {
    double most = 0.0;
    for (ptrdiff_t k = 0; k < count; k++)
        for (ptrdiff_t i = 0; i < n; i++) {
            const double across = fabs(right_of(right, roll, growth, i, xs[k], y));
            const double along = fabs(down_of(down, roll, growth, i, xs[k], y));
            most = across > most ? across : most;
            most = along > most ? along : most;
        }
    *farthest = most;
}

DEFINE_SUM(sum_of, double, double)

/* Shares in whole steps that add up to `whole`: those that are cut off most are rounded up, the first of equal ones
   first. `shares` become what is cut off, less than 0; `order` has room for a number of each. */
static void steps_of(double *shares, ptrdiff_t n, int32_t whole, int32_t *order, int32_t *steps) {
    const double factor = (double)whole / sum_of(shares, n);
    int32_t left = whole;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double exact = shares[i] * factor;
        steps[i] = (int32_t)exact;
        left -= steps[i];
        shares[i] = (double)steps[i] - exact;
        order[i] = (int32_t)i;
    }
    for (ptrdiff_t gap = n / 2; gap > 0; gap /= 2) /* Shell's sort */
        for (ptrdiff_t i = gap; i < n; i++) {
            const int32_t own = order[i];
            ptrdiff_t j = i;
            for (; j >= gap; j -= gap) {
                const int32_t other = order[j - gap];
                if (shares[other] < shares[own] || (shares[other] == shares[own] && other < own))
                    break;
                order[j] = other;
            }
            order[j] = own;
        }
    for (int32_t i = 0; i < left; i++)
        steps[order[i]]++;
}

/* The kernels at `count` places xs of a line y, of n positions with their weights, each spread over four pixels; the
   farthest lies within `radius`. They are turned around, as taps in the order of `order_taps`. Of each kernel there are
   `room` places (y, x), weights and ends, and two counts. `sums` are (2·radius + 2)² zeros, `memory` has room for
   2·room numbers and `shares` for room / 2, where room is 8·n or more. */
CLONED void patina_kernels(const double *right, const double *down, const double *roll, const double *growth,
                           const double *weights, ptrdiff_t n, const double *xs, ptrdiff_t count, double y,
                           int32_t radius, int32_t whole, int32_t bits, int32_t block, ptrdiff_t room, double *sums,
                           double *shares, int32_t *memory, int32_t *places, float *ordered, int32_t *ends,
                           int32_t *counts) {
    const int32_t side = 2 * radius + 1, wide = side + 1;
    int32_t *steps = memory, *ys = memory + room / 2, *columns = ys + room / 2, *order = columns + room / 2;
    for (ptrdiff_t k = 0; k < count; k++) {
        for (int quarter = 0; quarter < 4; quarter++)
            for (ptrdiff_t i = 0; i < n; i++) {
                double across = right_of(right, roll, growth, i, xs[k], y) + (double)radius;
                double along = down_of(down, roll, growth, i, xs[k], y) + (double)radius;
                across = across > 0.0 ? across : 0.0;
                across = across < (double)(2 * radius) ? across : (double)(2 * radius);
                along = along > 0.0 ? along : 0.0;
                along = along < (double)(2 * radius) ? along : (double)(2 * radius);
                const int32_t left = (int32_t)across, top = (int32_t)along;
                const double beside = across - (double)left, below = along - (double)top;
                const double lower = below * weights[i], upper = weights[i] - lower;
                sums[(top + quarter / 2) * wide + left + quarter % 2] +=
                    (quarter / 2 ? lower : upper) * (quarter % 2 ? beside : 1.0 - beside);
            }
        ptrdiff_t found = 0;
        for (int32_t i = 0; i < wide * wide; i++)
            if (sums[i] != 0.0) {
                shares[found] = sums[i];
                ys[found] = i / wide;
                columns[found++] = i % wide;
                sums[i] = 0.0;
            }
        steps_of(shares, found, whole, order, steps);
        /* The other way around, as the convolution is a correlation with what is turned around. */
        for (ptrdiff_t i = 0, j = found - 1; i <= j; i++, j--) {
            const int32_t row = side - 1 - ys[i], column = side - 1 - columns[i], step = steps[i];
            ys[i] = side - 1 - ys[j];
            columns[i] = side - 1 - columns[j];
            steps[i] = steps[j];
            ys[j] = row;
            columns[j] = column;
            steps[j] = step;
        }
        order_taps(ys, columns, steps, found, bits, block, places + 2 * k * room, ordered + k * room, ends + k * room,
                   counts + 2 * k);
    }
}

/* Which of n pixels of RGB levels are brighter than `knee`, and their luminance, red + green + blue by a table of 256
   each, in which green below `least` is never bright enough; and in one number how many they are. */
CLONED void patina_bright(const uint8_t *levels, ptrdiff_t n, const float *red, const float *green, const float *blue,
                          int32_t least, float knee, ptrdiff_t *places, float *luminance, int64_t *count) {
    ptrdiff_t found = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint8_t *pixel = levels + 3 * i;
        if (pixel[1] < least)
            continue;
        const float sum = (red[pixel[0]] + green[pixel[1]]) + blue[pixel[2]];
        places[found] = i;
        luminance[found] = sum;
        found += sum > knee;
    }
    *count = found;
}
