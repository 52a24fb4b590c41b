/* What `patina/synth/degradations/shadowed.py` makes of pixels in the shadow. */

#include "tables.h"
#include "sums.h"

/* The nearest whole number, halves to even, of |x| < 2^51. */
INLINE double nearest_double(double x) {
    return (x + 6755399441055744.0) - 6755399441055744.0;
}

/* rows × width levels with a part of the sun hidden, in place: I = J·(1 - m·(1 - f)) - m·f·x in linear light where the
   matte m is not 0, nowhere brighter than J; and the matte as 16 bits, `stored`. `hidden` is m, its rows `stride` floats
   apart; `suns` are 1 - f and `losses` f·x of red, green and blue. `light`: of the 256 levels; `encoded`: of light back
   to levels. */
CLONED void patina_in_shadow(uint8_t *pixels, ptrdiff_t rows, ptrdiff_t width, const float *hidden, ptrdiff_t stride,
                             const float *suns, const float *losses, const float *light, const uint8_t *encoded,
                             uint16_t *stored) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        uint8_t *pixel = pixels + r * 3 * width;
        uint16_t *share = stored + r * width;
        const float *row = hidden + r * stride;
        for (ptrdiff_t c = 0; c < width; c++)
            share[c] = (uint16_t)word_of(row[c] * 65535.0f);
        for (ptrdiff_t c = 0; c < width; c++) {
            if (!share[c])
                continue;
            const float matte = (float)share[c] * (1.0f / 65535.0f);
            for (int i = 0; i < 3; i++) {
                const uint8_t level = pixel[3 * c + i];
                const float shaded = light[level] * (1.0f - matte * suns[i]) - matte * losses[i];
                const uint8_t found = encoded[place_of(shaded)];
                pixel[3 * c + i] = found < level ? found : level;
            }
        }
    }
}

/* How much of a floor, rows × columns bytes of 0 or 1, lies under a mask for every place of the one in the other that
   has room: sums of the mask over it, over 255, rounded. The mask is high × wide, its rows follow one another. `found`
   has (high - rows + 1) × (wide - columns + 1) numbers, `sums` room for high × (wide + 1). */
CLONED void patina_covered(const uint8_t *mask, ptrdiff_t high, ptrdiff_t wide, const uint8_t *floor, ptrdiff_t rows,
                           ptrdiff_t columns, int32_t *sums, int32_t *line, double *found) {
    const ptrdiff_t places = wide - columns + 1;
    for (ptrdiff_t r = 0; r < high; r++) { /* of the pixels before each, along every row */
        int32_t sum = 0, *to = sums + r * (wide + 1);
        for (ptrdiff_t c = 0; c < wide; c++) {
            to[c] = sum;
            sum += mask[r * wide + c];
        }
        to[wide] = sum;
    }
    for (ptrdiff_t r = 0; r < high - rows + 1; r++) {
        for (ptrdiff_t i = 0; i < places; i++)
            line[i] = 0;
        for (ptrdiff_t y = 0; y < rows; y++) {
            const uint8_t *ground = floor + y * columns;
            for (ptrdiff_t first = 0, end; first < columns; first = end) { /* runs of the same */
                for (end = first + 1; end < columns && ground[end] == ground[first]; end++) {
                }
                if (!ground[first])
                    continue;
                const int32_t *before = sums + (r + y) * (wide + 1) + first, *beyond = before + (end - first);
                for (ptrdiff_t i = 0; i < places; i++)
                    line[i] += beyond[i] - before[i];
            }
        }
        for (ptrdiff_t i = 0; i < places; i++) {
            found[r * places + i] = nearest_double((double)line[i] / 255.0);
        }
    }
}

/* The sun's share that is left, rows × width, times what a layer leaves of it that hides it with three softnesses:
   `near` at the occluder's foot, `middle`, and `far` from its `top` on; 2/top is `steep`. Of a pixel the occluder's
   y is right·(c - x) + down·(r - y). */
CLONED void patina_softened(float *lit, const float *near, const float *middle, const float *far, ptrdiff_t rows,
                            ptrdiff_t width, double right, double x, double down, double y, float steep) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        const double above = down * ((double)r - y);
        const ptrdiff_t start = r * width;
        for (ptrdiff_t c = 0; c < width; c++) {
            const ptrdiff_t i = start + c;
            const float place = between((float)(right * ((double)(int32_t)c - x) + above) * steep, 0.0f, 2.0f);
            const float lower = near[i] + (middle[i] - near[i]) * place;
            const float upper = middle[i] + (far[i] - middle[i]) * (place - 1.0f);
            lit[i] *= 1.0f - (place < 1.0f ? lower : upper);
        }
    }
}

DEFINE_SUM(sum_of, double, double)

/* The sum of n doubles that are two apart; of one polygon alone NumPy adds up in another order than of many. */
static double sum_along(const double *x, ptrdiff_t n, int is_alone, double *memory) {
    double sum = x[0];
    if (is_alone) {
        for (ptrdiff_t i = 0; i < n; i++)
            memory[i] = x[2 * i];
        return sum_of(memory, n);
    }
    for (ptrdiff_t i = 1; i < n; i++)
        sum += x[2 * i];
    return sum;
}

/* The corners of n polygons, x and y of `count` each, moved by a matrix of 2 × 3 to pixels and drawn in by half a pixel
   or all the way to the middle, in sixteenths less eight; and whether a picture, wide × high, sees any of a polygon.
   `memory` has room for 3 · count numbers. */
CLONED void patina_corners(const double *points, ptrdiff_t n, ptrdiff_t count, const double *matrix, ptrdiff_t wide,
                           ptrdiff_t high, double *memory, int32_t *corners, uint8_t *seen) {
    double *moved = memory + count;
    for (ptrdiff_t k = 0; k < n; k++) {
        const double *point = points + 2 * k * count;
        int32_t *corner = corners + 2 * k * count;
        for (ptrdiff_t i = 0; i < count; i++)
            for (int axis = 0; axis < 2; axis++) {
                const double *row = matrix + 3 * axis;
                moved[2 * i + axis] = (point[2 * i] * row[0] + point[2 * i + 1] * row[1]) + row[2];
            }
        seen[k] = 1;
        for (int axis = 0; axis < 2; axis++) {
            const double middle = sum_along(moved + axis, count, n == 1, memory) / (double)count;
            const double end = (double)(axis ? high : wide);
            double least = 0.0, most = 0.0;
            for (ptrdiff_t i = 0; i < count; i++) {
                double excess = moved[2 * i + axis] - middle;
                excess = excess < 0.5 ? excess : 0.5;
                excess = excess > -0.5 ? excess : -0.5;
                const double place = moved[2 * i + axis] - excess;
                least = !i || place < least ? place : least;
                most = !i || place > most ? place : most;
                corner[2 * i + axis] = (int32_t)nearest_double(place * 16.0 - 8.0);
            }
            seen[k] &= most > 0.0 && least < end;
        }
    }
}
